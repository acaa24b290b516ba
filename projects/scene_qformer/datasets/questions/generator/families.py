"""All families of questions, by type."""
from __future__ import annotations

from collections.abc import Callable, Iterator

from .asked import Asked
from .category_and_state import category, state
from .compare import compare
from .ego import ego
from .exist_and_count import count, exist
from .frame_facts import FrameFacts
from .selection import Scene
from .where import where

FAMILIES: dict[str, Callable[[Scene], Iterator[Asked]]] = dict(
    exist=exist, count=count, category=category, state=state, where=where, compare=compare, ego=ego)


def questions_about(facts: FrameFacts) -> Iterator[Asked]:
    """Every question that the facts of a frame decide."""
    scene = Scene(facts)
    for family in FAMILIES.values():
        yield from family(scene)
