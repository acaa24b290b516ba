"""A limit on memory for as long as a file is read that may ask for more than it is worth."""
from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

try:
    import resource
except ModuleNotFoundError:  # not on Windows
    resource = None  # type: ignore[assignment]

SPARE = 1 << 30  # bytes; threads of the process go on meanwhile


@contextlib.contextmanager
def bounded_memory(size: int) -> Iterator[None]:
    """Let this process take at most so much more memory; beyond it, Python raises MemoryError.

    Where the system does not tell how much memory a process has, as on macOS, nothing is limited.

    Args:
        size: Bytes, beside 1 GiB.
    """
    status = Path('/proc/self/statm')
    if resource is None or not status.is_file():
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = int(status.read_text().split()[0]) * resource.getpagesize() + size + SPARE
    others = [value for value in (soft, hard) if value != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min([limit, *others]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
