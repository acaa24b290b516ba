"""What is the nearest object in the front camera? Is the nearest car moving, stopped or parked?"""
from __future__ import annotations

from collections.abc import Iterator

from .asked import Asked, Template, yes_or_no
from .selection import ANYWHERE, CAMERAS, CLASS_KINDS, OBJECT, VEHICLE, VEHICLES, Kind, Scene

CATEGORY = Template('category', 3, (
    'What is the nearest {kind}{place}?', 'Which kind of {kind} is nearest{place}?'))
MOVING = Template('state', 2, ('Is the nearest {kind}{place} moving?', 'Does the nearest {kind}{place} move?'))
VEHICLE_STATE = Template('state', 3, (
    'Is the nearest {kind}{place} moving, stopped or parked?', 'What is the state of the nearest {kind}{place}?'))
PEDESTRIAN_STATE = Template('state', 2, (
    'Is the nearest {kind}{place} moving or standing?', 'What is the nearest {kind}{place} doing?'))
RIDER = Template('state', 2, (
    'Is there a rider on the nearest {kind}{place}?', 'Does the nearest {kind}{place} have a rider?'))

STILL = ('stopped', 'parked', 'standing', 'sitting')


def category(scene: Scene) -> Iterator[Asked]:
    """The class of the nearest one, where no other class may be as near."""
    for kind in (OBJECT, VEHICLE):
        for place in (ANYWHERE, *CAMERAS):
            names = {scene.facts.categories[index] for index in scene.nearest(kind, place)}
            if len(names) == 1:
                yield Asked(CATEGORY, names.pop().replace('_', ' '), dict(kind=kind.name, place=place.words))


def state(scene: Scene) -> Iterator[Asked]:
    """nuScenes' attribute of the nearest one, where all that may be the nearest share it."""
    for kind in CLASS_KINDS:
        for place in (ANYWHERE, *CAMERAS):
            states = {scene.facts.states[index] for index in scene.nearest(kind, place)}
            known = states.pop() if len(states) == 1 else None
            if known is not None:
                words = dict(kind=kind.name, place=place.words)
                yield from (Asked(template, answer, words) for template, answer in _about(kind, known))


def _about(kind: Kind, known: str) -> Iterator[tuple[Template, str]]:
    if known in ('with rider', 'without rider'):
        yield RIDER, yes_or_no(known == 'with rider')
        return
    yield MOVING, yes_or_no(known not in STILL)
    if kind.classes[0] in VEHICLES:
        yield VEHICLE_STATE, known
    elif known != 'sitting':
        yield PEDESTRIAN_STATE, known
