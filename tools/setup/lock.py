"""A lock between processes, so that two set-ups at once do the work one after the other."""
from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock on ``path``: a folder, locked as it is, or a file, made if absent.

    The kernel frees it when the process ends in whatever way, so a killed set-up never leaves it behind.

    Args:
        path: What to lock.
        waiting: Called once if somebody else holds the lock, before waiting for them.
    """
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    handle = os.open(str(path), flags, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
