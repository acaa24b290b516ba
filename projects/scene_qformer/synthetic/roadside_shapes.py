"""Shapes of annotated things at the roadside; frame and units as in `vehicle_shapes`."""
from __future__ import annotations

import numpy as np

from .meshes import LAMP, PAINT, Mesh, box, cylinder, merge
from .people_shapes import _tyre
from .vehicle_shapes import AMBER, DARK

ORANGE = (0.95, 0.32, 0.05)
WHITE = (0.90, 0.90, 0.88)
RED = (0.78, 0.10, 0.08)


def traffic_cone(rng: np.random.Generator, size: tuple[float, float, float], attribute: str, phase: float) -> Mesh:
    """An orange cone with white bands on a square foot, or a slimmer bollard."""
    width, length, height = size
    color = tuple(np.array(ORANGE) * rng.uniform(0.85, 1.05))
    slim = rng.random() < 0.2
    foot, tip = (0.30, 0.24) if slim else (0.45, 0.10)
    foot, tip = foot * width, tip * width
    levels = np.array([0.045, 0.34, 0.52, 0.64, 0.80, 1.0])
    parts = [box((0, 0, 0.0225 * height), (length, width, 0.045 * height), DARK if rng.random() < 0.5 else color)]
    for k in range(5):
        low, high = levels[k], levels[k + 1]
        parts.append(
            cylinder((0, 0, low * height), (0, 0, high * height),
                     foot + (tip - foot) * low,
                     WHITE if k in (1, 3) else color,
                     end_radius=foot + (tip - foot) * high,
                     segments=12))
    return merge(parts)


def barrier(rng: np.random.Generator, size: tuple[float, float, float], attribute: str, phase: float) -> Mesh:
    """A striped board on feet, a water-filled plastic block, or a concrete block; long across its heading (y)."""
    width, length, height = size
    kind = rng.choice(['board', 'plastic', 'concrete'])
    parts: list[Mesh] = []
    if kind == 'board':
        stripes = max(4, int(round(width / 0.3)))
        pitch = width / stripes
        first = RED if rng.random() < 0.6 else ORANGE
        for low, high in ((0.12, 0.40), (0.52, 0.97)):
            for k in range(stripes):
                parts.append(
                    box((0, -0.5 * width + (k + 0.5) * pitch, 0.5 * (low + high) * height),
                        (0.22 * length, pitch, (high - low) * height), first if k % 2 else WHITE))
        for y in (-0.36, 0.36):
            parts += [
                box((0, y * width, 0.03 * height), (length, 0.08 * width, 0.06 * height), DARK),
                box((0, y * width, 0.5 * height), (0.26 * length, 0.05, height), (0.35, 0.35, 0.35))
            ]
            parts.append(cylinder((0, y * width, 0.94 * height), (0, y * width, height), 0.06, AMBER, LAMP, segments=8))
    else:
        sections = max(2, int(round(width / 0.9))) if kind == 'plastic' else 1
        pitch = width / sections
        for k in range(sections):
            color = ((ORANGE if k % 2 else WHITE) if kind == 'plastic' else (0.58, 0.57, 0.54))
            y, span = -0.5 * width + (k + 0.5) * pitch, pitch * (0.97 if kind == 'plastic' else 1.0)
            material = PAINT if kind == 'plastic' else 0
            parts += [
                box((0, y, 0.11 * height), (length, span, 0.22 * height), color, material),
                box((0, y, 0.33 * height), (length, span, 0.22 * height), color, material, top=(0.55, 1.0)),
                box((0, y, 0.72 * height), (0.55 * length, span, 0.56 * height), color, material, top=(0.62, 1.0))
            ]
        if kind == 'concrete':
            for y in np.linspace(-0.4, 0.4, 3) * width:
                parts.append(
                    box((0, y, 0.80 * height), (0.475 * length, 0.16 * width, 0.09 * height), (0.92, 0.75, 0.1)))
    return merge(parts)


def clutter(rng: np.random.Generator, size: tuple[float, float, float], attribute: str, phase: float) -> Mesh:
    """Debris, bins and carts: a lidded container."""
    width, length, height = size
    color = tuple(rng.uniform(0.12, 0.5, 3))
    return merge([
        box((0, 0, 0.45 * height), (0.85 * length, 0.85 * width, 0.9 * height), color, top=(1.15, 1.15)),
        box((0, 0, 0.95 * height), (length, width, 0.1 * height), tuple(0.7 * np.array(color)))
    ])


def bicycle_rack(rng: np.random.Generator, size: tuple[float, float, float], attribute: str, phase: float) -> Mesh:
    """Hoops on a rail with some wheels between them."""
    width, length, height = size
    steel = (0.45, 0.46, 0.48)
    parts = [box((0, 0, 0.02 * height), (length, width, 0.04 * height), steel)]
    radius = min(0.33, 0.45 * height, 0.45 * length)
    for y in np.linspace(-0.45, 0.45, max(2, int(width / 0.5))) * width:
        parts += [box((x, y, 0.5 * height), (0.05, 0.05, height), steel) for x in (-0.45 * length, 0.45 * length)]
        parts.append(box((0, y, 0.975 * height), (0.9 * length, 0.05, 0.05 * height), steel))
        if rng.random() < 0.6:
            parts.append(_tyre(0.0, radius, y + 0.1, 0.04))
    return merge(parts)
