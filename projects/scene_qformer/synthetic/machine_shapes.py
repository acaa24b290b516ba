"""Shapes of construction vehicles; frame and units as in `vehicle_shapes`."""
from __future__ import annotations

import numpy as np

from .meshes import GLASS, LAMP, MATTE, PAINT, Mesh, box, cylinder, hexahedron, merge, mirrored
from .vehicle_shapes import AMBER, DARK, HEADLIGHT, PANE, TYRE

_YELLOWS = ((0.92, 0.62, 0.05), (0.90, 0.55, 0.03), (0.85, 0.66, 0.10), (0.88, 0.42, 0.05))


def _beam(start: tuple[float, float], end: tuple[float, float], thick: float, half: float, color: tuple) -> Mesh:
    """A straight arm in the x-z plane, ``2 half`` wide."""
    start_, end_ = np.array(start), np.array(end)
    along = (end_ - start_) / np.linalg.norm(end_ - start_)
    across = 0.5 * thick * np.array([along[1], -along[0]])
    corners = np.zeros((8, 3))
    for k in range(8):
        x, z = (end_ if k & 1 else start_) + (-across if k & 4 else across)
        corners[k] = x, half if k & 2 else -half, z
    return hexahedron(corners, color, PAINT)


def _cabin(x: float, y: float, low: float, size: tuple[float, float, float], paint: tuple) -> list[Mesh]:
    """A driver's cabin: posts and a roof around dark glass."""
    sx, sy, sz = size
    parts = [
        box((x, y, low + 0.5 * sz), (0.96 * sx, 0.96 * sy, sz), PANE, GLASS),
        box((x, y, low + 0.12 * sz), (sx, sy, 0.24 * sz), paint, PAINT),
        box((x, y, low + 0.96 * sz), (1.03 * sx, 1.03 * sy, 0.08 * sz), paint, PAINT)
    ]
    for dx in (-0.47, 0.47):
        for dy in (-0.47, 0.47):
            parts.append(box((x + dx * sx, y + dy * sy, low + 0.5 * sz), (0.08 * sx, 0.08 * sy, sz), paint, PAINT))
    return parts


def construction_vehicle(rng: np.random.Generator, size: tuple[float, float, float], attribute: str,
                         phase: float) -> Mesh:
    """An excavator or a wheel loader."""
    paint = tuple(np.array(_YELLOWS[rng.integers(len(_YELLOWS))]) * rng.uniform(0.9, 1.05))
    return _excavator(size, paint) if rng.random() < 0.5 else _loader(size, paint)


def _excavator(size: tuple[float, float, float], paint: tuple) -> Mesh:
    width, length, height = size
    steel = (0.32, 0.32, 0.33)
    track_high = 0.27 * height
    rear = -0.5 * length
    parts = []
    side = [
        box((rear + 0.31 * length, 0.41 * width, 0.5 * track_high), (0.56 * length, 0.18 * width, track_high),
            DARK,
            MATTE,
            top=(1.0, 1.0)),
        box((rear + 0.31 * length, 0.41 * width, 0.5 * track_high), (0.5 * length, 0.185 * width, 0.5 * track_high),
            (0.2, 0.2, 0.2))
    ]
    for s in np.linspace(0.08, 0.54, 5):
        side.append(
            cylinder((rear + s * length, 0.4 * width, 0.42 * track_high),
                     (rear + s * length, 0.5 * width, 0.42 * track_high),
                     0.3 * track_high,
                     steel,
                     segments=8))
    parts.append(mirrored(merge(side)))
    deck = 0.34 * height
    parts += [
        box((rear + 0.30 * length, 0, 0.5 * (0.6 * track_high + deck)),
            (0.24 * length, 0.4 * width, deck - 0.6 * track_high), DARK),
        box((rear + 0.29 * length, 0, deck + 0.03 * height), (0.56 * length, 0.86 * width, 0.08 * height), paint,
            PAINT),
        box((rear + 0.13 * length, 0, deck + 0.17 * height), (0.26 * length, 0.86 * width, 0.28 * height),
            paint,
            PAINT,
            top=(0.9, 0.96)),
        box((rear + 0.005 * length, 0, deck + 0.13 * height), (0.01 * length, 0.7 * width, 0.2 * height), DARK),
        box((rear + 0.24 * length, -0.28 * width, deck + 0.13 * height), (0.2 * length, 0.28 * width, 0.2 * height),
            paint, PAINT)
    ]
    parts += _cabin(rear + 0.41 * length, 0.24 * width, deck + 0.05 * height,
                    (0.24 * length, 0.36 * width, 0.46 * height), paint)
    parts.append(
        box((rear + 0.41 * length, 0.24 * width, deck + 0.535 * height), (0.12, 0.12, 0.05 * height), AMBER, LAMP))
    thick, half = 0.1 * height, 0.07 * width
    base, knee, wrist = (rear + 0.45 * length, deck + 0.1 * height), (rear + 0.72 * length, 0.94 * height), \
        (rear + 0.93 * length, 0.34 * height)
    parts += [
        _beam(base, knee, 1.3 * thick, half, paint),
        _beam((knee[0] - 0.03 * length, knee[1]), wrist, thick, half, paint),
        cylinder((knee[0], -0.09 * width, knee[1]), (knee[0], 0.09 * width, knee[1]), 0.6 * thick, steel, segments=8),
        _beam((rear + 0.5 * length, deck + 0.34 * height), (rear + 0.66 * length, 0.87 * height), 0.4 * thick,
              0.4 * half, steel),
        box((wrist[0] - 0.01 * length, 0, 0.17 * height), (0.16 * length, 0.40 * width, 0.34 * height),
            steel,
            MATTE,
            top=(0.55, 1.0),
            shift=(0.02 * length, 0)),
        box((0.5 * length - 0.02 * length, 0, 0.06 * height), (0.04 * length, 0.42 * width, 0.05 * height), DARK)
    ]
    return merge(parts)


def _loader(size: tuple[float, float, float], paint: tuple) -> Mesh:
    width, length, height = size
    steel = (0.30, 0.30, 0.31)
    radius = 0.24 * height
    rear, front = -0.5 * length, 0.5 * length
    side = []
    for x in (rear + 0.20 * length, rear + 0.62 * length):
        side.append(cylinder((x, 0.30 * width, radius), (x, 0.48 * width, radius), radius, TYRE, segments=16))
        side.append(cylinder((x, 0.30 * width, radius), (x, 0.485 * width, radius), 0.5 * radius, paint, segments=10))
        side.append(box((x, 0.39 * width, 2.12 * radius), (2.0 * radius, 0.2 * width, 0.1 * radius), paint, PAINT))
    side += [
        _beam_at(0.17 * width, (rear + 0.55 * length, 0.60 * height), (rear + 0.78 * length, 0.50 * height),
                 0.10 * height, paint),
        _beam_at(0.17 * width, (rear + 0.77 * length, 0.53 * height), (rear + 0.88 * length, 0.22 * height),
                 0.10 * height, paint),
        box((rear + 0.66 * length, 0.24 * width, 0.63 * height), (0.06, 0.12, 0.12), HEADLIGHT, LAMP),
        box((rear + 0.01, 0.3 * width, 0.46 * height), (0.02, 0.14 * width, 0.06 * height), (0.8, 0.05, 0.05), LAMP)
    ]
    parts = [
        mirrored(merge(side)),
        box((rear + 0.19 * length, 0, 0.50 * height), (0.38 * length, 0.60 * width, 0.36 * height),
            paint,
            PAINT,
            top=(0.92, 0.9)),
        box((rear + 0.003, 0, 0.50 * height), (0.012, 0.44 * width, 0.2 * height), DARK),
        box((rear + 0.56 * length, 0, 0.42 * height), (0.26 * length, 0.4 * width, 0.3 * height), paint, PAINT),
        box((rear + 0.4 * length, 0, 0.26 * height), (0.7 * length, 0.34 * width, 0.2 * height), DARK),
        box((rear + 0.10 * length, 0.15 * width, 0.73 * height), (0.05 * length, 0.06 * width, 0.14 * height), DARK),
        # The bucket: a floor, a back and two cheeks.
        box((front - 0.075 * length, 0, 0.03 * height), (0.15 * length, 0.98 * width, 0.06 * height), steel),
        box((front - 0.135 * length, 0, 0.19 * height), (0.03 * length, 0.98 * width, 0.36 * height), steel)
    ]
    parts.append(
        mirrored(
            box((front - 0.08 * length, 0.49 * width, 0.16 * height), (0.13 * length, 0.02 * width, 0.28 * height),
                steel,
                MATTE,
                top=(0.5, 1.0),
                shift=(-0.03 * length, 0))))
    parts += _cabin(rear + 0.45 * length, 0, 0.52 * height, (0.22 * length, 0.5 * width, 0.45 * height), paint)
    parts.append(box((rear + 0.45 * length, 0, 0.985 * height), (0.14, 0.14, 0.03 * height), AMBER, LAMP))
    return merge(parts)


def _beam_at(y: float, start: tuple[float, float], end: tuple[float, float], thick: float, color: tuple) -> Mesh:
    return _beam(start, end, thick, 0.06, color).transformed(translation=(0.0, y, 0.0))
