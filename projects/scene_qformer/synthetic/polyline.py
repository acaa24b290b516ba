"""Plane curves sampled as points: what lanes, kerbs and walking tracks are made of."""
from __future__ import annotations

import numpy as np


class Polyline:
    """A directed curve in the plane, addressed by arc length.

    Args:
        points (np.ndarray): (K, 2) vertices in global x, y, metres; K >= 2, no two neighbours equal.

    Raises:
        ValueError: If there are fewer than two vertices.
    """

    def __init__(self, points: np.ndarray) -> None:
        points = np.asarray(points, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 2 or len(points) < 2:
            raise ValueError(f'A Polyline needs points of shape (K >= 2, 2), got {points.shape}.')
        self.points = points
        self.s = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])

    @property
    def length(self) -> float:
        return float(self.s[-1])

    def at(self, s: float | np.ndarray) -> np.ndarray:
        """Points at arc lengths ``s`` (any shape), (..., 2); straight extrapolation beyond both ends."""
        s = np.asarray(s, dtype=np.float64)
        inside = np.stack([np.interp(s, self.s, self.points[:, 0]), np.interp(s, self.s, self.points[:, 1])], axis=-1)
        beyond = s - np.clip(s, 0.0, self.length)
        if np.any(beyond):
            heading = np.where(s < 0, self._end_heading(0), self._end_heading(-1))
            inside = inside + beyond[..., None] * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
        return inside

    def _end_heading(self, end: int) -> float:
        step = self.points[1] - self.points[0] if end == 0 else self.points[-1] - self.points[-2]
        return float(np.arctan2(step[1], step[0]))

    def heading(self, s: float | np.ndarray, reach: float = 0.5) -> np.ndarray:
        """Direction at ``s`` in radians, from the chord of ``2 * reach`` metres around it."""
        step = self.at(np.asarray(s) + reach) - self.at(np.asarray(s) - reach)
        return np.arctan2(step[..., 1], step[..., 0])

    def beside(self, s: float | np.ndarray, lateral: float | np.ndarray) -> np.ndarray:
        """Points ``lateral`` metres to the left of the curve at ``s``."""
        heading = self.heading(s)
        normal = np.stack([-np.sin(heading), np.cos(heading)], axis=-1)
        return self.at(s) + np.asarray(lateral)[..., None] * normal

    def offset(self, lateral: float) -> Polyline:
        """The parallel curve ``lateral`` metres to the left (its radius of curvature must stay positive)."""
        return Polyline(self.beside(self.s, np.full(len(self.s), lateral)))

    def reversed(self) -> Polyline:
        return Polyline(self.points[::-1])

    def slice(self, start: float, end: float) -> Polyline:
        """The part between two arc lengths, ``0 <= start < end <= length``."""
        inner = self.points[(self.s > start + 1e-6) & (self.s < end - 1e-6)]
        return Polyline(np.concatenate([self.at(start)[None], inner, self.at(end)[None]]))

    def resampled(self, spacing: float) -> Polyline:
        """The same curve with evenly spaced vertices, at most ``spacing`` apart."""
        count = max(int(np.ceil(self.length / spacing)), 1) + 1
        return Polyline(self.at(np.linspace(0.0, self.length, count)))

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Nearest vertex of each point.

        Args:
            points (np.ndarray): (M, 2).

        Returns:
            tuple: arc lengths (M,) of the nearest vertices, and distances (M,) to them.
        """
        distances = np.linalg.norm(points[:, None] - self.points[None], axis=-1)
        nearest = distances.argmin(axis=1)
        return self.s[nearest], distances[np.arange(len(points)), nearest]


def join(parts: list[Polyline]) -> Polyline:
    """One curve through all parts, in order; vertices that coincide at the seams are merged."""
    points = np.concatenate([part.points for part in parts])
    distinct = np.concatenate([[True], np.hypot(*np.diff(points, axis=0).T) > 1e-6])
    return Polyline(points[distinct])
