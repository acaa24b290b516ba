"""Files that are whole or not there: written aside, flushed to the disk, renamed; with a digest beside them.

::

    epoch_3.pth                   the file; whole from the moment that it has this name
    epoch_3.pth.sha256            its SHA-256, as sha256sum writes it: `sha256sum -c epoch_3.pth.sha256` checks it
    .epoch_4.pth.3fa91c07.partial what a process that was killed while writing left; never read

Each attempt writes aside under a name of its own, so two processes that write the same file do not mix: the one that
ends last has its way, whole. With digests, one process at a time writes: a training locks its work directory.
"""
from __future__ import annotations

import errno
import glob
import hashlib
import os
import re
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path

PARTIAL, DIGEST = '.partial', '.sha256'
OF_A_RUN = ('Make room (quotas count, too) or name another --work-dir, keep fewer files '
            '(default_hooks.checkpoint.max_keep_ckpts), then go on with --resume.')
OF_A_TOOL = 'Make room (quotas count, too), then give the same command again.'
# From this age on, in seconds, a part is the leftover of a process that was killed: nothing is written so long.
_LEFT_OVER = 24 * 3600
# What network mounts say to it; the files themselves are on the disk by then.
_FOLDERS_CANNOT_BE_FLUSHED = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.EACCES)


class DamagedFileError(ValueError):
    """What a file holds is not what was written into it."""


class NotWrittenError(OSError):
    """A file could not be written whole. What had its name before is still there."""


def file_sha256(path: str | Path) -> str:
    """Hexadecimal digest of a file.

    Raises:
        FileNotFoundError: If there is none.
    """
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def digest_path(path: Path) -> Path:
    """Where the digest of a file lies."""
    return path.with_name(path.name + DIGEST)


def write_durably(path: str | Path, content: bytes, remedy: str = OF_A_RUN) -> None:
    """Write a file so that a kill or a loss of power at any time leaves the old one or the new one, never a part.

    Args:
        path: Of the file. Its folder is made if it is not there.
        content: All of it.
        remedy: What the error advises: :data:`OF_A_RUN` or :data:`OF_A_TOOL`.

    Raises:
        NotWrittenError: If the disk is full, or does not take it for another reason; nothing is left of the attempt.
    """
    _replace({Path(path): content}, remedy)


def write_with_digest(path: str | Path, content: bytes) -> None:
    """As :func:`write_durably`, with the digest beside it.

    The digest of an old file of this name goes first and that of the new one comes last, so a kill in between leaves
    a whole file without a digest, never one beside the digest of another.

    Raises:
        NotWrittenError: As there.
    """
    path = Path(path)
    line = f'{hashlib.sha256(content).hexdigest()}  {path.name}\n'
    _replace({path: content, digest_path(path): line.encode()}, OF_A_RUN)


def _replace(contents: dict[Path, bytes], remedy: str) -> None:
    """Write all aside, and when the disk has them, give them their names in this order."""
    first = next(iter(contents))
    attempt = secrets.token_hex(4)
    asides = {path: path.with_name(f'.{path.name}.{attempt}{PARTIAL}') for path in contents}
    try:
        first.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(first)
        for path, content in contents.items():
            with open(asides[path], 'wb') as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path in contents:
            if path != first:
                path.unlink(missing_ok=True)
        for path, aside in asides.items():
            os.replace(aside, path)
        _flush_folder(first.parent)
    except OSError as error:
        needed = sum(map(len, contents.values()))
        raise NotWrittenError(error.errno, _not_written(first, needed, error, remedy)) from error
    finally:  # an error, or Ctrl-C
        for aside in asides.values():
            with suppress(OSError):  # the one that counts is on its way
                aside.unlink()


def _remove_leftovers(path: Path) -> None:
    """Remove what killed processes left of a file long ago; of younger parts, another process may be at work."""
    for part in path.parent.glob(f'.{glob.escape(path.name)}.*{PARTIAL}'):
        with suppress(OSError):  # another process removed it, too
            if time.time() - part.stat().st_mtime > _LEFT_OVER:
                part.unlink()


def check_digest(path: str | Path) -> None:
    """Compare a file with the digest beside it, if there is one.

    Raises:
        DamagedFileError: If they differ, or the digest is none.
    """
    path = Path(path)
    beside = digest_path(path)
    if not beside.is_file():
        return
    words = beside.read_bytes()[:200].decode(errors='replace').split()
    if not words or not re.fullmatch('[0-9a-f]{64}', words[0]):
        raise DamagedFileError(f'{beside} is damaged: expected a SHA-256 as sha256sum writes it, 64 hexadecimal '
                               f'digits and the name of the file. If {path.name} is known to be whole, remove '
                               f'{beside.name}.')
    found = file_sha256(path)
    if found != words[0]:
        raise DamagedFileError(f'{path} is not the file that was written: its SHA-256 begins with {found[:12]}, that '
                               f'in {beside.name} with {words[0][:12]}, and it has {path.stat().st_size} bytes. It is '
                               'damaged, cut short, or was changed since: use an earlier one from the work directory, '
                               f'or copy it again. If you changed it on purpose, remove {beside.name}.')


def remove_with_digest(path: str | Path) -> None:
    """Remove a file and the digest beside it, this one last: a lone digest harms nobody.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    Path(path).unlink()
    digest_path(Path(path)).unlink(missing_ok=True)


def _not_written(path: Path, needed: int, error: OSError, remedy: str) -> str:
    try:
        free = f'{shutil.disk_usage(path.parent).free:,} bytes are free there'
    except OSError:
        free = 'how much is free there cannot be told'
    return (f'{path} could not be written ({error.strerror or error}): {needed:,} bytes are needed, {free}. Nothing of '
            f'it is left, and what was written before is intact. {remedy}')


def _flush_folder(folder: Path) -> None:
    """Make a rename last: without this, a loss of power may undo it."""
    if os.name == 'nt':  # folders cannot be opened there
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _FOLDERS_CANNOT_BE_FLUSHED:
            raise
