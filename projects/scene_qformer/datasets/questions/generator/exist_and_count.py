"""Is there a bus within 20 meters? How many cars are in the front camera within 30 meters?"""
from __future__ import annotations

from collections.abc import Iterator

from ...nuscenes_scene_dataset import NUSCENES_CAMERAS
from .asked import Asked, Template, yes_or_no
from .selection import CLASS_KINDS, STATE_KINDS, VEHICLE, Place, Scene

MOST = 9  # objects; larger numbers are not asked for
PLACES = (*(Place(radius=radius) for radius in (10, 20, 30)), *(Place(name, 30) for name in NUSCENES_CAMERAS))
KINDS = (*CLASS_KINDS, VEHICLE, *STATE_KINDS)

EXIST = Template('exist', 2, ('Is there a {kind}{place}?', 'Do you see any {plural}{place}?'))
COUNT = Template('count', 3, ('How many {plural} are there{place}?', 'What is the number of {plural}{place}?'))


def exist(scene: Scene) -> Iterator[Asked]:
    """Yes if one surely is there, no if none may be."""
    for kind in KINDS:
        for place in PLACES:
            selection = scene.select(kind, place)
            if selection.at_least or not selection.at_most:
                words = dict(kind=kind.name, plural=kind.plural, place=place.words)
                yield Asked(EXIST, yes_or_no(selection.at_least > 0), words)


def count(scene: Scene) -> Iterator[Asked]:
    """The number, where none is in doubt and it is at most ``MOST``."""
    for kind in KINDS:
        for place in PLACES:
            selection = scene.select(kind, place)
            if selection.at_least == selection.at_most <= MOST:
                yield Asked(COUNT, str(selection.at_least), dict(plural=kind.plural, place=place.words))
