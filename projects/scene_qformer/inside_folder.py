"""Paths that a file names stay inside the folder that they are for."""
from __future__ import annotations

import posixpath
from typing import Any


def check_inside(path: Any, folder: str, where: str, way_out: str = '') -> str:
    """Check that a path in a file does not lead out of the folder it will be looked for in.

    The path is judged as it is written. Links that lie in the folder were put there by its owner and are followed.

    Args:
        path: As the file writes it: relative to the folder, or absolute.
        folder: The folder.
        where: What errors call the place, e.g. ``infos.pkl, sample a, img_path of CAM_FRONT``.
        way_out: What else to do about it, for the error.

    Returns:
        The path.

    Raises:
        ValueError: If it is no text, empty, a URL, or leads out of the folder.
    """
    if not isinstance(path, str) or not path or '\0' in path:
        raise ValueError(f'{where}: expected the path of a file, found {path!r:.100}.')
    unified = path.replace('\\', '/')  # a Windows path, too, is absolute or climbs out
    root = posixpath.abspath(folder)
    inside = f'{posixpath.normpath(posixpath.join(root, unified))}/'.startswith(f'{root.rstrip("/")}/')
    if not inside or unified.startswith('~') or '://' in unified or unified[1:2] == ':':
        raise ValueError(f'{where}: expected a path inside the folder {folder}, found {path!r:.200}. A file from '
                         'elsewhere must not choose what is read on this machine: correct the path, or put a link into '
                         f'the folder.{way_out}')
    return path
