"""Lamps at night: the spots that street lamps and headlights throw on the ground, as round Gaussians."""
from __future__ import annotations

import numpy as np

from .scene import ObjectState, Prop

LAMP_POST = 5.0  # metres: higher poles carry a lamp (`scenery_shapes.pole`)


def street_lamps(props: list[Prop], centers: np.ndarray) -> np.ndarray:
    """(K, 4): x, y, radius, strength of the spots below street lamps; ``centers`` (len(props), 3) is where they are."""
    spots = []
    for prop, center in zip(props, centers):
        if prop.kind == 'pole' and prop.size[2] > LAMP_POST:
            reach = max(0.0, 0.5 * prop.size[1] - 0.35)
            spots.append((center[0] + reach * np.cos(prop.yaw), center[1] + reach * np.sin(prop.yaw),
                          0.95 * prop.size[2], 0.75))
    return np.array(spots, dtype=np.float64).reshape(-1, 4)


def headlight_spots(place: np.ndarray, forward: np.ndarray, strength: float, ahead: float = 3.0) -> np.ndarray:
    """(3, 4): the widening, fading spots in front of a vehicle at ``place`` (2,) that looks along ``forward`` (2,)."""
    rows = [(4.0, 2.2, 1.0), (9.0, 4.0, 0.75), (18.0, 7.0, 0.45)]  # metres ahead, radius, share
    return np.array([(*(place + (ahead + far) * forward), radius, strength * share) for far, radius, share in rows])


def has_headlights(state: ObjectState) -> bool:
    """Whether a vehicle drives or waits with its lamps on."""
    return state.attribute in ('vehicle.moving', 'vehicle.stopped')


def lamp_light(lamps: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(M,) light of the (K, 4) spots at the (M, 2) places; 1 is the middle of a full spot."""
    apart = np.sum((places[:, None] - lamps[None, :, :2])**2, axis=-1) / lamps[None, :, 2]**2
    return np.sum(lamps[None, :, 3] * np.exp(-apart), axis=1)
