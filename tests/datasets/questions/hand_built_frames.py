"""Frames' facts, written by hand: a few objects with their distances, cameras and states."""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from scene_qformer.datasets.nuscenes_scene_dataset import NUSCENES_CAMERAS
from scene_qformer.datasets.questions.generator.camera_views import CameraViews
from scene_qformer.datasets.questions.generator.ego_motion import EgoMotion
from scene_qformer.datasets.questions.generator.families import FAMILIES
from scene_qformer.datasets.questions.generator.frame_facts import FrameFacts
from scene_qformer.datasets.questions.generator.selection import Scene


@dataclass
class Thing:
    """One object."""

    category: str
    distance: float
    columns: dict[str, float] = field(default_factory=lambda: dict(FRONT=0.5))  # by camera: where it is shown
    state: str | None = None
    visible: bool = True
    partly: tuple[str, ...] = ()  # cameras whose images it only touches


def facts(*things: Thing, ego: EgoMotion | None = None) -> FrameFacts:
    names = [name.removeprefix('CAM_') for name in NUSCENES_CAMERAS]
    shows = np.array([[name in thing.columns for thing in things] for name in names], bool)
    partly = np.array([[name in thing.partly for thing in things] for name in names], bool)
    column = np.array([[thing.columns.get(name, np.nan) for thing in things] for name in names])
    return FrameFacts(
        tuple(thing.category for thing in things), np.array([thing.distance for thing in things]),
        np.array([thing.visible for thing in things], bool), tuple(thing.state for thing in things),
        CameraViews(shows, shows | partly, column), ego)


def answers(family: str, *things: Thing, ego: EgoMotion | None = None) -> dict[str, str]:
    """All questions of a family, in their first wording, with their answers."""
    return {asked.wordings()[0]: asked.answer for asked in FAMILIES[family](Scene(facts(*things, ego=ego)))}
