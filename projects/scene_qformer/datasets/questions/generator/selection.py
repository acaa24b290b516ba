"""Choosing objects by kind and place, with the doubt kept: which surely are meant, and which may be.

Every object is *sure* (it is visible and clearly of the kind and in the place), *out* (clearly not), or in *doubt*:
hidden or without points, at an image's border or on a circle's line, of a state that is unknown or a category that
resembles the kind. A question is asked only if its answer is the same whatever holds of the doubtful ones.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from ...nuscenes_scene_dataset import NUSCENES_CAMERAS
from .frame_facts import CLASSES, FrameFacts

CAMERA_WORDS = {name: name.removeprefix('CAM_').lower().replace('_', ' ') for name in NUSCENES_CAMERAS}
ON_THE_LINE = 0.05  # share of a radius within which an object is neither inside nor outside of the circle
# An object is clearly farther than another one that is d metres away from (1 + FARTHER) d + FARTHER_BY metres on.
FARTHER, FARTHER_BY = 0.1, 0.5
VEHICLES = ('car', 'truck', 'trailer', 'bus', 'construction_vehicle')
# Categories of none of the ten classes, by their first words, and what they may be taken for.
RESEMBLES = {
    'vehicle.emergency': ('car', 'truck', 'motorcycle', 'bicycle'),
    'human': ('pedestrian', ),
    'static_object.bicycle_rack': ('bicycle', 'motorcycle'),
}


@dataclass(frozen=True)
class Selection:
    """G objects: surely meant, and perhaps meant."""

    sure: np.ndarray  # (G,) bool
    possible: np.ndarray  # (G,) bool, wherever ``sure`` is

    def __and__(self, other: Selection) -> Selection:
        return Selection(self.sure & other.sure, self.possible & other.possible)

    @property
    def at_least(self) -> int:
        return int(np.count_nonzero(self.sure))

    @property
    def at_most(self) -> int:
        return int(np.count_nonzero(self.possible))


@dataclass(frozen=True)
class Kind:
    """A noun: objects of some classes, maybe in one state."""

    name: str
    classes: tuple[str, ...]
    state: str | None = None
    everything: bool = False  # also what is of none of the ten classes may be meant

    @property
    def plural(self) -> str:
        return f'{self.name}es' if self.name.endswith('s') else f'{self.name}s'

    def select(self, facts: FrameFacts) -> Selection:
        """The objects of this kind, wherever they are."""
        sure = np.array([category in self.classes for category in facts.categories], bool)
        possible = sure | np.array([self._may_be(category) for category in facts.categories], bool)
        if self.state is not None:
            sure = sure & np.array([state == self.state for state in facts.states], bool)
            possible = possible & np.array([state in (self.state, None) for state in facts.states], bool)
        return Selection(sure & facts.visible, possible)

    def _may_be(self, category: str) -> bool:
        return category not in CLASSES and (self.everything or not _likeness(category).isdisjoint(self.classes))


@dataclass(frozen=True)
class Place:
    """Words that follow a noun: in a camera's image, within a distance of the ego car, or both; or anywhere."""

    camera: str | None = None
    radius: float | None = None  # metres in the ground plane

    @property
    def words(self) -> str:
        camera = '' if self.camera is None else f' in the {CAMERA_WORDS[self.camera]} camera'
        return camera + ('' if self.radius is None else f' within {self.radius:g} meters')

    def select(self, facts: FrameFacts) -> Selection:
        """The objects in this place, of whatever kind."""
        sure = possible = np.ones(len(facts.categories), bool)
        if self.camera is not None:
            index = NUSCENES_CAMERAS.index(self.camera)
            sure, possible = facts.views.shows[index], facts.views.touches[index]
        if self.radius is not None:
            sure = sure & (facts.distance <= self.radius * (1 - ON_THE_LINE))
            possible = possible & (facts.distance <= self.radius * (1 + ON_THE_LINE))
        return Selection(sure, possible)


CLASS_KINDS = tuple(Kind(name.replace('_', ' '), (name, )) for name in CLASSES)
VEHICLE = Kind('vehicle', VEHICLES)
OBJECT = Kind('object', CLASSES, everything=True)
STATE_KINDS = tuple(Kind(f'{state} {name}', (name, ), state)
                    for name, states in (('car', ('moving', 'parked')), ('pedestrian', ('moving', 'standing')))
                    for state in states)
ANYWHERE = Place()
CAMERAS = tuple(Place(name) for name in NUSCENES_CAMERAS)


class Scene:
    """A frame's facts with its selections at hand: many questions ask for the same."""

    def __init__(self, facts: FrameFacts) -> None:
        self.facts = facts
        self._selections: dict[Kind | Place, Selection] = {}

    def select(self, kind: Kind, place: Place = ANYWHERE) -> Selection:
        """The objects of a kind in a place."""
        return self._of(kind) & self._of(place)

    def nearest(self, kind: Kind, place: Place = ANYWHERE) -> Sequence[int]:
        """The objects that may be the nearest of a kind in a place, of which each surely is of that kind and there.

        Empty if there is none, or if one in doubt may be the nearest.
        """
        selection = self.select(kind, place)
        if not selection.at_least:
            return ()
        distance = self.facts.distance
        rivals = np.flatnonzero(selection.possible & ~clearly_nearer(distance[selection.sure].min(), distance))
        return rivals.tolist() if selection.sure[rivals].all() else ()

    def _of(self, kind_or_place: Kind | Place) -> Selection:
        if kind_or_place not in self._selections:
            self._selections[kind_or_place] = kind_or_place.select(self.facts)
        return self._selections[kind_or_place]


def clearly_nearer(one: float, other: float | np.ndarray) -> bool | np.ndarray:
    """Whether ``one`` is so much less than ``other``, both metres, that anybody would say so."""
    return (1 + FARTHER) * one + FARTHER_BY < other


@cache
def _likeness(category: str) -> frozenset[str]:
    return frozenset(name for start, names in RESEMBLES.items() if category.startswith(start) for name in names)
