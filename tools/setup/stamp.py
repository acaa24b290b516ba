"""A note inside ``.venv`` of what it was made from, so that a second run starts its work at once."""
from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Iterable

NAME = 'scene-qformer-setup.stamp'


def fingerprint(root: Path, files: Iterable[Path], python_version: str) -> str:
    """SHA-256 over the files' names and bytes, the interpreter's version and the place of the repository.

    The place counts because the environment's scripts and the editable installation hold absolute paths.
    """
    digest = hashlib.sha256()
    for part in (str(root), python_version):
        digest.update(part.encode() + b'\0')
    for path in sorted(files):
        digest.update(str(path.relative_to(root)).encode() + b'\0')
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def read(venv: Path) -> str:
    try:
        return (venv / NAME).read_text(encoding='utf-8').strip()
    except OSError:
        return ''


def write(venv: Path, value: str) -> None:
    """Written last and by renaming: a stamp is there only if everything before it succeeded."""
    new = venv / (NAME + f'.{os.getpid()}')
    new.write_text(value + '\n', encoding='utf-8')
    os.replace(str(new), str(venv / NAME))


def clear(venv: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        (venv / NAME).unlink()
