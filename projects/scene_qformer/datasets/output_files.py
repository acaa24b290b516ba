"""Where a tool may write: looked at before its work, not after."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def check_outputs(paths: Iterable[Path], overwrite: bool, other: str = 'another --out') -> None:
    """Check that files can be written without replacing others unasked.

    Args:
        paths: The files.
        overwrite: Whether others may be replaced.
        other: What to give to write elsewhere, for errors.

    Raises:
        FileExistsError: If some are there, and ``overwrite`` is False.
        NotADirectoryError: If a file stands where their folder should be.
    """
    paths = list(paths)
    for path in paths:
        blocking = next((folder for folder in path.parents if folder.exists() and not folder.is_dir()), None)
        if blocking is not None:
            raise NotADirectoryError(f'{blocking} is a file; expected a folder to write {path.name} into. Name a '
                                     'folder.')
    existing = [str(path) for path in paths if path.exists()]
    if existing and not overwrite:
        raise FileExistsError(f'{", ".join(existing)} already there. Give --overwrite to replace, or {other}.')
