"""What kinds of objects there are: nuScenes category, size distribution and how fast they like to go.

Means are nuScenes' per-class mean sizes; the spreads are rounded from its size histograms.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ObjectKind:
    """One kind of annotated object."""

    category: str  # full nuScenes category
    size: tuple[float, float, float]  # mean width, length, height, metres
    spread: tuple[float, float, float]  # standard deviations, metres
    pace: float = 1.0  # desired speed as a share of the speed limit
    acceleration: float = 1.5  # m/s^2

    def draw_size(self, rng: np.random.Generator) -> tuple[float, float, float]:
        """Width, length, height: normal, cut at two standard deviations, to the millimetre."""
        deviation = np.clip(rng.standard_normal(3), -2.0, 2.0)
        width, length, height = np.round(np.asarray(self.size) + deviation * np.asarray(self.spread), 3)
        return float(width), float(length), float(height)


KINDS = {
    'car': ObjectKind('vehicle.car', (1.93, 4.62, 1.70), (0.10, 0.35, 0.17)),
    'truck': ObjectKind('vehicle.truck', (2.45, 6.9, 2.85), (0.14, 1.0, 0.45), 0.9, 1.0),
    'tractor': ObjectKind('vehicle.truck', (2.5, 6.2, 3.3), (0.05, 0.3, 0.2), 0.85, 0.8),
    'bus': ObjectKind('vehicle.bus.rigid', (2.85, 11.0, 3.4), (0.08, 0.8, 0.2), 0.85, 0.9),
    'trailer': ObjectKind('vehicle.trailer', (2.75, 11.5, 3.8), (0.12, 1.3, 0.3)),
    'construction_vehicle': ObjectKind('vehicle.construction', (2.6, 6.3, 3.1), (0.14, 1.0, 0.4), 0.5, 0.7),
    'motorcycle': ObjectKind('vehicle.motorcycle', (0.77, 2.10, 1.46), (0.08, 0.15, 0.12), 1.0, 2.0),
    'bicycle': ObjectKind('vehicle.bicycle', (0.60, 1.72, 1.30), (0.07, 0.12, 0.15), 0.45, 0.9),
    'adult': ObjectKind('human.pedestrian.adult', (0.67, 0.73, 1.77), (0.08, 0.12, 0.09)),
    'child': ObjectKind('human.pedestrian.child', (0.51, 0.53, 1.35), (0.05, 0.06, 0.12)),
    'worker': ObjectKind('human.pedestrian.construction_worker', (0.70, 0.74, 1.75), (0.07, 0.1, 0.07)),
    'cone': ObjectKind('movable_object.trafficcone', (0.41, 0.41, 1.05), (0.04, 0.04, 0.15)),
    'barrier': ObjectKind('movable_object.barrier', (2.5, 0.50, 0.98), (0.25, 0.07, 0.07)),
}

EGO_SIZE = (1.73, 4.084, 1.56)  # width, length, height of the recording vehicle
EGO_REAR_AXLE = 1.35  # the ego origin lies this far behind the middle of the vehicle, metres
