"""A limit on memory for as long as a file is read that may ask for more than it is worth."""
from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

try:
    import resource
except ModuleNotFoundError:  # not on Windows
    resource = None  # type: ignore[assignment]

SPARE = 1 << 30  # bytes; threads of the process go on meanwhile

# The limit is the process': a thread that came later would take an earlier one's for what was there before.
_turn = threading.RLock()
_given_back: list[tuple[int, int]] = []  # by those who have their turn, the outermost first


def _free_child() -> None:
    """A process that another thread forks meanwhile has the limit, and nobody to take it away."""
    global _turn
    _turn = threading.RLock()
    if _given_back:
        resource.setrlimit(resource.RLIMIT_AS, _given_back[0])
        _given_back.clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_free_child)


@contextlib.contextmanager
def bounded_memory(size: int) -> Iterator[None]:
    """Let this process take at most so much more memory; beyond it, Python raises MemoryError.

    Threads wait for each other. Where the system does not tell how much memory a process has, as on macOS, nothing is
    limited.

    Args:
        size: Bytes, beside 1 GiB.
    """
    status = Path('/proc/self/statm')
    if resource is None or not status.is_file():
        yield
        return
    with _turn:
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = int(status.read_text().split()[0]) * resource.getpagesize() + size + SPARE
        others = [value for value in (soft, hard) if value != resource.RLIM_INFINITY]
        _given_back.append((soft, hard))
        resource.setrlimit(resource.RLIMIT_AS, (min([limit, *others]), hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
            _given_back[-1:] = []
