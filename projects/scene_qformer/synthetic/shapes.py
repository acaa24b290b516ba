"""Which shape stands for which nuScenes category."""
from __future__ import annotations

import numpy as np

from . import meshes as m

POSES = 8  # a gait is drawn in this many steps


def object_mesh(category: str, attribute: str, size: tuple[float, float, float], seed: int, phase: float = 0.0) -> m.Mesh:
    """thin version"""
    width, length, height = size
    rng = np.random.default_rng(seed)
    color = tuple(rng.uniform(0.1, 0.9, 3))
    body = m.box((0, 0, -.1), (1, 1, .6), color, m.PAINT)
    cabin = m.box((-.1, 0, .35), (.5, .9, .3), (.1, .1, .12), m.GLASS, top=(.7, .8))
    lamps = m.box((.49, 0, 0), (.03, .8, .1), (1, 1, .8), m.LAMP)
    rear = m.box((-.49, 0, 0), (.03, .8, .1), (.9, .1, .1), m.LAMP)
    return m.fit_to_box(m.merge([body, cabin, lamps, rear]), length, width, height)


def prop_mesh(kind: str, size: tuple[float, float, float], seed: int) -> m.Mesh:
    """thin version"""
    width, length, height = size
    return m.fit_to_box(m.box((0, 0, 0), (1, 1, 1), (.6, .5, .45)), length, width, height)
