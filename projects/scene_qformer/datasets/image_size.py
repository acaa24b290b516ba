"""A size of images as users state it."""
from __future__ import annotations

from typing import Any


def read_size(size: Any, what: str) -> tuple[int, int]:
    """Check a stated size.

    Args:
        size: (width, height) in pixels.
        what: Whose size it is, for the error.

    Raises:
        ValueError: If it is not two whole numbers from 1 on.
    """
    try:
        width, height = size
        whole = int(width), int(height)
        if min(whole) >= 1 and whole == (width, height):
            return whole
    except (TypeError, ValueError, OverflowError):  # one number, three, a text, infinity
        pass
    raise ValueError(f'Expected {what} as (width, height) in pixels, two whole numbers of at least 1, got {size!r}.')
