"""Compiles the renderer's and the lidar's kernels once; numba keeps them in ``__pycache__`` beside their sources."""
from __future__ import annotations

from dataclasses import replace

import numpy as np

from .lidar import cast_lidar
from .renderer import SceneRenderer
from .world import build_world


def compile_kernels() -> None:
    """Render one small view and cast one sweep, so that recording processes find every kernel compiled.

    Takes about 20 s the first time, under a second after that.
    """
    world = build_world('scene-0061', 1)
    renderer, frame, rng = SceneRenderer(world), world.frames[0], np.random.default_rng(0)
    renderer.render(frame, replace(world.rig.cameras[0], width=64, height=36), rng)
    cast_lidar(world, frame, rng, renderer.poser)
