"""The motion of one object through a scene, sampled at the key frames."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .object_catalog import KINDS


@dataclass
class Track:
    """One object at T key frames; T is 1 for what never changes."""

    kind: str  # key of object_catalog.KINDS
    size: tuple[float, float, float]  # width, length, height, metres
    seed: int  # for looks
    centers: np.ndarray  # (T, 2) global x, y; NaN where the object is not there
    yaws: np.ndarray  # (T,) radians
    attributes: list[str]  # (T,) nuScenes attribute names; '' for none
    phases: np.ndarray  # (T,) radians, for looks

    @property
    def category(self) -> str:
        return KINDS[self.kind].category

    def over(self, num_frames: int) -> Track:
        """The same track over ``num_frames`` key frames."""
        if len(self.centers) == num_frames:
            return self
        return Track(self.kind, self.size, self.seed, np.repeat(self.centers, num_frames, axis=0),
                     np.repeat(self.yaws, num_frames), self.attributes * num_frames,
                     np.repeat(self.phases, num_frames))


def draw_seed(rng: np.random.Generator) -> int:
    """A seed for an object's looks."""
    return int(rng.integers(1, 2**31 - 1))


def static_track(kind: str, center: np.ndarray, yaw: float, attribute: str, rng: np.random.Generator) -> Track:
    """An object of the kind's size distribution that stays where it is."""
    return Track(kind, KINDS[kind].draw_size(rng), draw_seed(rng), np.asarray(center, dtype=np.float64)[None],
                 np.array([yaw]), [attribute], np.zeros(1))


def box_corners(centers: np.ndarray, sizes: np.ndarray, yaws: np.ndarray) -> np.ndarray:
    """Footprints of boxes, (..., 4, 2), from centres (..., 2), width-length(-height) (..., 2+) and yaws (...)."""
    along = np.stack([np.cos(yaws), np.sin(yaws)], axis=-1) * sizes[..., 1:2] / 2
    left = np.stack([-np.sin(yaws), np.cos(yaws)], axis=-1) * sizes[..., 0:1] / 2
    return np.stack([centers + along + left, centers + along - left, centers - along - left, centers - along + left],
                    axis=-2)


def overlapping(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Which pairs of footprints (P, 4, 2) overlap, by the separating-axis theorem, (P,) bool."""
    separated = np.zeros(len(a), dtype=bool)
    for boxes in (a, b):
        for edge in (boxes[:, 1] - boxes[:, 0], boxes[:, 2] - boxes[:, 1]):
            on_a, on_b = np.einsum('pkc,pc->pk', a, edge), np.einsum('pkc,pc->pk', b, edge)
            separated |= (on_a.max(1) <= on_b.min(1)) | (on_b.max(1) <= on_a.min(1))
    return ~separated
