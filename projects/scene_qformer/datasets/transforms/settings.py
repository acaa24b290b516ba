"""Settings of transforms, checked when these are built.

Else OpenCV or numpy would find a wrong one, in the first frame and without its name; or nobody, as with slices.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any


def check_number(value: Any, what: str, low: float = 0, high: float = 1) -> None:
    """A number within bounds, by default a share.

    Args:
        value: What is stated.
        what: Name of setting and transform, for the error.
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
    if not isinstance(value, Integral) or value < 1:
        raise ValueError(f'Expected {what} to be a whole number of at least 1, got {value!r}.')


def check_numbers(values: Any, what: str, low: float = 0, high: float = 1) -> None:
    """Two numbers within bounds, by default shares.

    Raises:
        ValueError: If they are not two, or one is no such number.
    """
    if not _are_two(values) or not all(_within(value, low, high) for value in values):
        raise ValueError(f'Expected {what} to be two numbers from {low:g} to {high:g}, got {values!r}.')


def check_scale_range(scale_range: Any, transform: str) -> None:
    """What scales are drawn from.

    Raises:
        ValueError: If it is no range of positive, finite numbers.
    """
    if not _are_two(scale_range) or not 0 < scale_range[0] <= scale_range[1] < math.inf:
        raise ValueError(f'Expected scale_range (low, high) with 0 < low <= high, got {scale_range!r} for {transform}.')


def check_names(names: Any, what: str) -> tuple[str, ...]:
    """Several names: a single text would be taken letter by letter.

    Raises:
        ValueError: If they are no list or tuple of texts.
    """
    if isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names):
        return tuple(names)
    raise ValueError(f"Expected {what} to be a list or tuple of names (of one: ('name', )), got {names!r}.")


def _are_two(values: Any) -> bool:
    """Two numbers; not what has other than two entries, nor a text."""
    return isinstance(values, Sequence) and len(values) == 2 and all(isinstance(value, Real) for value in values)


def _within(value: Any, low: float, high: float) -> bool:
    """A number within bounds; NaN is not."""
    return isinstance(value, Real) and low <= float(value) <= high
