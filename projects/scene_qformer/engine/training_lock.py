"""One training at a time in a work directory: two would replace each other's checkpoints."""
from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = '.training.lock'
_held: dict[Path, IO[str]] = {}


def lock_folder(folder: str | Path) -> None:
    """Keep other processes from training in a folder, until :func:`release_folder` or the end of this process.

    A POSIX record lock: the system releases it with its process, however that ends, and workers of data loaders do not
    inherit it, so a training that was killed can be started anew at once. File systems that know no locks are used
    without, and so is Windows.

    Args:
        folder: The work directory, which is there.

    Raises:
        RuntimeError: If another process holds it; names that one.
    """
    folder = Path(folder).resolve()
    if fcntl is None or folder in _held:  # within a process, locks would not exclude each other anyway
        return
    try:
        file = open(folder / LOCK, 'a+')  # noqa: SIM115  (held open: closing it releases the lock)
    except OSError:  # the first checkpoint will tell why
        return
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        holder = file.read(200).strip()
        file.close()
        if error.errno not in (errno.EACCES, errno.EAGAIN):  # there are no locks here
            return
        who = f' ({holder})' if holder else ''
        raise RuntimeError(f'Another training{who} writes into {folder} now, and both would replace the checkpoints of '
                           'the other. Let it end, or stop it; or name another --work-dir.') from error
    file.truncate(0)
    file.write(f'process {os.getpid()} on {socket.gethostname()}\n')
    file.flush()
    _held[folder] = file


def release_folder(folder: str | Path) -> None:
    """Let others train in a folder; nothing happens if this process does not hold it."""
    file = _held.pop(Path(folder).resolve(), None)
    if file is not None:
        file.close()
