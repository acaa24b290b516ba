"""Settings as users state them, checked when what has them is built.

Else OpenCV or numpy would find a wrong one, in the first frame and without its name; or nobody, as with slices. numpy's
numbers, and arrays of two, are as good as Python's.
"""
from __future__ import annotations

import math
from collections.abc import Mapping, Set
from numbers import Integral, Real
from typing import Any

import numpy as np


def check_number(value: Any, what: str, low: float = 0, high: float = 1) -> None:
    """A number within bounds, by default a share.

    Args:
        value: What is stated.
        what: Name of setting and part, for the error.
        low: The least that makes sense.
        high: The most.

    Raises:
        ValueError: If it is no number, or another.
    """
    if not _within(value, low, high):
        raise ValueError(f'Expected {what} to be a number from {low:g} to {high:g}, got {value!r}.')


def check_count(value: Any, what: str) -> None:
    """A whole number of at least 1.

    Raises:
        ValueError: If it is none.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f'Expected {what} to be a whole number of at least 1, got {value!r}.')


def check_numbers(values: Any, what: str, low: float = 0, high: float = 1) -> None:
    """Two numbers within bounds, by default shares.

    Raises:
        ValueError: If they are not two, or one is no such number.
    """
    two = _two(values)
    if two is None or not all(_within(value, low, high) for value in two):
        raise ValueError(f'Expected {what} to be two numbers from {low:g} to {high:g}, got {values!r}.')


def check_scale_range(scale_range: Any, part: str) -> None:
    """What scales are drawn from.

    Raises:
        ValueError: If it is no range of positive, finite numbers.
    """
    two = _two(scale_range)
    if two is None or not all(map(_is_number, two)) or not 0 < two[0] <= two[1] < math.inf:
        raise ValueError(f'Expected scale_range (low, high) with 0 < low <= high, got {scale_range!r} for {part}.')


def check_names(names: Any, what: str, at_least: int = 1) -> tuple[str, ...]:
    """Different names: a single text would be taken letter by letter.

    Raises:
        ValueError: If they are no list or tuple of texts, or one stands twice.
    """
    if (isinstance(names, (list, tuple)) and len(names) >= at_least and all(isinstance(name, str) for name in names)
            and len(set(names)) == len(names)):
        return tuple(names)
    number = 'one or more ' if at_least else ''
    raise ValueError(f"Expected {what} to be a list or tuple of {number}different names (of one: ('name', )), got "
                     f'{names!r}.')


def read_size(size: Any, what: str) -> tuple[int, int]:
    """A size of images.

    Args:
        size: (width, height) in pixels.
        what: Whose size it is, for the error.

    Raises:
        ValueError: If it is not two whole numbers from 1 on.
    """
    two = _two(size)
    try:
        if two is not None and not any(isinstance(side, (bool, np.bool_)) for side in two):
            width, height = int(two[0]), int(two[1])
            if min(width, height) >= 1 and (width, height) == tuple(two):
                return width, height
    except (TypeError, ValueError, OverflowError):  # None, a text, infinity
        pass
    raise ValueError(f'Expected {what} as (width, height) in pixels, two whole numbers of at least 1, got {size!r}.')


def _two(values: Any) -> tuple | None:
    """The two entries of something that has an order; None if it is no such thing."""
    if isinstance(values, (str, bytes, Mapping, Set)):
        return None
    try:
        first, second = values
    except (TypeError, ValueError):
        return None
    return first, second


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, (bool, np.bool_))


def _within(value: Any, low: float, high: float) -> bool:
    """A number within bounds; NaN is not."""
    return _is_number(value) and low <= float(value) <= high
