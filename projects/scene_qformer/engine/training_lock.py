"""One training at a time in a work directory: two would replace each other's checkpoints.

A POSIX record lock on a file there: the system releases it with its process, however that ends, and workers of data
loaders do not inherit it, so a training that was killed can be started anew at once. It is lost, too, when the process
closes any descriptor of that file, as copying the folder does; so it is taken again before each checkpoint.
"""
from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = '.training.lock'
# Seconds to wait for the training before: of a machine that is lost, network mounts keep the locks for as long.
PATIENCE = 120.
_held: dict[Path, tuple[int, int]] = {}  # by folder: the process that took it, as forked ones see this, too; descriptor
_unlocked: set[Path] = set()  # folders that cannot be locked


def lock_training(folders: Sequence[str | Path]) -> None:
    """Keep other processes from training in folders, until :func:`release_folder` or the end of this process.

    To be called by all processes of a training; the first one locks. Folders are made. File systems that know no locks
    are used without, which is said, and so is Windows.

    Raises:
        RuntimeError: On all processes, if another training holds one; names its process.
    """
    answer: list = [None]
    if is_main_process():
        try:
            for folder in folders:
                lock_folder(folder, PATIENCE)
        except RuntimeError as error:  # every process is to stop with it
            answer = [error]
    broadcast_object_list(answer)
    if answer[0] is not None:
        raise answer[0]


def lock_folder(folder: str | Path, patience: float = 0.) -> None:
    """Take the lock of a folder in this process, or see that it is still there.

    Args:
        folder: Made if it is not there.
        patience: Seconds to wait for who holds it.

    Raises:
        RuntimeError: If another process holds it; names that one.
    """
    if fcntl is None:
        return
    folder = Path(folder).resolve()
    end, waits = time.monotonic() + patience, False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while (holder := _take(folder)) is not None:
            who = f' ({holder})' if holder else ''
            if time.monotonic() >= end:
                raise RuntimeError(
                    f'Another training{who} writes into {folder}, and both would replace the checkpoints of the other. '
                    'Let it end, or stop it (of a notebook, restart the kernel); or name another --work-dir. If its '
                    f'machine is gone, remove {folder / LOCK}.')
            if not waits:
                _warn(f'Another training{who} holds {folder}; waiting for its end, {patience:.0f} s at most.')
                waits = True
            time.sleep(0.2)
    except OSError as error:
        if folder in _unlocked:
            return
        _unlocked.add(folder)  # said once, not before each checkpoint
        _warn(f'{folder / LOCK} cannot be locked ({error.strerror or error}): nothing keeps a second training from '
              'writing into this folder.')


def release_folder(folder: str | Path) -> None:
    """Let others train in a folder; nothing happens if this process does not hold it."""
    pid, descriptor = _held.pop(Path(folder).resolve(), (None, -1))
    if pid == os.getpid():
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
        os.close(descriptor)


def _take(folder: Path) -> str | None:
    """None if this process has the lock; else what its holder says of itself."""
    pid, descriptor = _held.get(folder, (None, -1))
    if pid != os.getpid() or not _is_there(descriptor, folder / LOCK):
        if pid == os.getpid():  # somebody has removed the file, or the folder
            release_folder(folder)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(descriptor, 200, 0).decode(errors='replace').strip()
        _held.pop(folder, None)
        os.close(descriptor)
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return holder
        raise  # there are no locks here
    _held[folder] = os.getpid(), descriptor
    with suppress(OSError):  # a full disk: then it does without the name
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f'process {os.getpid()} on {socket.gethostname()}\n'.encode(), 0)
    return None


def _is_there(descriptor: int, path: Path) -> bool:
    """Whether a path still leads to the file that is open."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


def _warn(message: str) -> None:
    print_log(message, 'current', level=30)
