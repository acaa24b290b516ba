"""In which camera is the nearest bus? How far away is the nearest car in the front camera?"""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...nuscenes_scene_dataset import NUSCENES_CAMERAS
from .asked import Asked, Template
from .selection import ANYWHERE, CAMERA_WORDS, CAMERAS, CLASS_KINDS, ON_THE_LINE, Kind, Scene

DISTANCES = (5, 10, 20, 30, 40)  # metres; an answer names the nearest one
BETWEEN = (7.5, 15.0, 25.0, 35.0, 45.0)  # where one answer ends; beyond the last there is none

CAMERA = Template('where', 3, (
    'In which camera is the nearest {kind}?', 'Which camera shows the nearest {kind}?'))
DISTANCE = Template('where', 3, (
    'How far away is the nearest {kind}{place}?', 'What is the distance to the nearest {kind}{place}?'))


def where(scene: Scene) -> Iterator[Asked]:
    """Camera and distance of the nearest one of each class."""
    for kind in CLASS_KINDS:
        yield from _camera(scene, kind)
        for place in (ANYWHERE, *CAMERAS):
            answers = {distance_words(scene.facts.distance[index]) for index in scene.nearest(kind, place)}
            answer = answers.pop() if len(answers) == 1 else None
            if answer is not None:
                yield Asked(DISTANCE, answer, dict(kind=kind.name, place=place.words))


def _camera(scene: Scene, kind: Kind) -> Iterator[Asked]:
    """Only if one camera has the object to itself: neighbouring images overlap."""
    views, nearest = scene.facts.views, list(scene.nearest(kind))
    cameras = {int(camera) for camera in np.flatnonzero(views.touches[:, nearest].any(1))}
    if len(cameras) == 1 and views.shows[:, nearest].any():
        yield Asked(CAMERA, CAMERA_WORDS[NUSCENES_CAMERAS[cameras.pop()]], dict(kind=kind.name))


def distance_words(metres: float) -> str | None:
    """'about 10 m' and the like; None for what is close to the line between two answers, or too far for any."""
    index = int(np.searchsorted(BETWEEN, metres))
    if index == len(DISTANCES) or np.min(np.abs(np.array(BETWEEN) / metres - 1)) < ON_THE_LINE:
        return None
    return f'about {DISTANCES[index]} m'
