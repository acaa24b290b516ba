"""Which is nearer, a car or a bus? Are there more cars than buses? Is the bus left or right of the car?"""
from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from ...nuscenes_scene_dataset import NUSCENES_CAMERAS
from .asked import Asked, Template, yes_or_no
from .selection import CAMERA_WORDS, CAMERAS, CLASS_KINDS, VEHICLE, Place, Scene, Selection, clearly_nearer

APART = 0.05  # share of an image's width; with less between them, neither object is left of the other
CAMERA_PAIRS = (('CAM_FRONT', 'CAM_BACK'), ('CAM_FRONT_LEFT', 'CAM_FRONT_RIGHT'), ('CAM_BACK_LEFT', 'CAM_BACK_RIGHT'))

NEARER = Template('compare', 2, ('Which is nearer, a {one} or a {other}?', 'Which is nearer, a {other} or a {one}?'))
MORE_OF = Template('compare', 2, (
    'Are there more {one} than {other}{place}?', 'Are there fewer {other} than {one}{place}?'))
MORE_IN = Template('compare', 2, (
    'Within {radius} meters, are there more {plural} in the {one} camera than in the {other} camera?',
    'Within {radius} meters, are there fewer {plural} in the {other} camera than in the {one} camera?'))
LEFT_OR_RIGHT = Template('compare', 2, (
    'In the {camera} camera, is the nearest {one} to the left or to the right of the nearest {other}?',
    'Is the nearest {one} left or right of the nearest {other} in the {camera} camera?'))


def compare(scene: Scene) -> Iterator[Asked]:
    """Distances, numbers and sides of two classes, and numbers in two cameras; near ties are not asked."""
    yield from _nearer(scene)
    yield from _more_of(scene)
    yield from _more_in(scene)
    yield from _left_or_right(scene)


def _nearer(scene: Scene) -> Iterator[Asked]:
    found = {kind: scene.nearest(kind) for kind in CLASS_KINDS}
    least = {kind: float(scene.facts.distance[list(indices)].min()) for kind, indices in found.items() if indices}
    for one, other in combinations(least, 2):
        words = dict(one=one.name, other=other.name)
        if clearly_nearer(least[one], least[other]):
            yield Asked(NEARER, one.name, words)
        elif clearly_nearer(least[other], least[one]):
            yield Asked(NEARER, other.name, words)


def _more_of(scene: Scene) -> Iterator[Asked]:
    for place in (Place(radius=radius) for radius in (10, 20, 30)):
        for one, other in combinations(CLASS_KINDS, 2):
            more = _more(scene.select(one, place), scene.select(other, place))
            if more is not None:
                yield Asked(MORE_OF, yes_or_no(more), dict(one=one.plural, other=other.plural, place=place.words))


def _more_in(scene: Scene, radius: int = 30) -> Iterator[Asked]:
    for kind in (*CLASS_KINDS, VEHICLE):
        for one, other in CAMERA_PAIRS:
            more = _more(scene.select(kind, Place(one, radius)), scene.select(kind, Place(other, radius)))
            if more is not None:
                yield Asked(MORE_IN, yes_or_no(more), dict(
                    plural=kind.plural, radius=str(radius), one=CAMERA_WORDS[one], other=CAMERA_WORDS[other]))


def _more(one: Selection, other: Selection) -> bool | None:
    """Whether there are more of one than of the other; None if they may be as many."""
    if one.at_least > other.at_most:
        return True
    return False if other.at_least > one.at_most else None


def _left_or_right(scene: Scene) -> Iterator[Asked]:
    for place in CAMERAS:
        assert place.camera is not None
        columns = scene.facts.views.column[NUSCENES_CAMERAS.index(place.camera)]
        found = {kind: scene.nearest(kind, place) for kind in CLASS_KINDS}
        seen = {kind: columns[list(indices)] for kind, indices in found.items() if indices}
        for one, other in combinations(seen, 2):
            words = dict(one=one.name, other=other.name, camera=CAMERA_WORDS[place.camera])
            if seen[one].max() + APART < seen[other].min():
                yield Asked(LEFT_OR_RIGHT, 'left', words)
            elif seen[other].max() + APART < seen[one].min():
                yield Asked(LEFT_OR_RIGHT, 'right', words)
