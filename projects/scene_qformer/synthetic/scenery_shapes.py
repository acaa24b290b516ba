"""Shapes of what is not annotated: buildings, trees, poles, walls, and the skyline far away."""
from __future__ import annotations

import numpy as np

from .meshes import FACADE, FOLIAGE, GLASS, LAMP, MATTE, Color, Mesh, box, cylinder, ellipsoid, merge, panel, quads

WALLS: tuple[Color,
             ...] = ((0.56, 0.30, 0.22), (0.48, 0.26, 0.20), (0.66, 0.57, 0.45), (0.72, 0.68, 0.60), (0.52, 0.52, 0.52),
                     (0.40, 0.43, 0.47), (0.62, 0.60, 0.56), (0.36, 0.42, 0.48), (0.74, 0.64, 0.50))
LEAVES: tuple[Color, ...] = ((0.18, 0.36, 0.12), (0.24, 0.40, 0.13), (0.14, 0.30, 0.13), (0.33, 0.42, 0.14),
                             (0.46, 0.40, 0.12))
TRUNK: Color = (0.26, 0.20, 0.15)
LAMP_GLOW: Color = (1.0, 0.86, 0.60)


def _pick(rng: np.random.Generator, choices: tuple[Color, ...]) -> Color:
    return tuple(np.clip(np.array(choices[rng.integers(len(choices))]) * rng.uniform(0.85, 1.12), 0, 1))


def _block(center: tuple[float, float], size: tuple[float, float], low: float, high: float, color: Color) -> Mesh:
    """A storeyed block: four walls with windows that fit the walls' widths, and a flat roof."""
    x0, x1 = center[0] - 0.5 * size[0], center[0] + 0.5 * size[0]
    y0, y1 = center[1] - 0.5 * size[1], center[1] + 0.5 * size[1]
    ground = [(x1, y0), (x1, y1), (x0, y1), (x0, y0)]
    corners, uv = [], []
    tall = max(1, round((high - low) / 3.2)) * 3.2
    for (ax, ay), (bx, by) in zip(ground, ground[1:] + ground[:1]):
        corners.append([(ax, ay, low), (bx, by, low), (bx, by, high), (ax, ay, high)])
        long = max(1, round(np.hypot(bx - ax, by - ay) / 3.0)) * 3.0
        uv.append([(0, 0), (long, 0), (long, tall), (0, tall)])
    walls = quads(np.array(corners), color, FACADE, uv=np.array(uv, dtype=np.float64))
    roof = quads(np.array([[(x0, y0, high), (x1, y0, high), (x1, y1, high), (x0, y1, high)]]), (0.35, 0.34, 0.33))
    return merge([walls, roof])


def building(rng: np.random.Generator, size: tuple[float, float, float]) -> Mesh:
    """A house with a glazed ground floor, storeys of windows, a cornice and things on its roof."""
    width, length, height = size
    color = _pick(rng, WALLS)
    trim = tuple(np.clip(np.array(color) * rng.uniform(0.75, 1.3), 0, 0.9))
    shop = 3.6 if height > 6 else 0.0
    top = height - (min(2.5, 0.15 * height) if height > 6 else 0.0)
    parts = []
    if shop:
        parts.append(box((0, 0, 0.5 * shop), (0.985 * length, 0.985 * width, shop), trim))
        for sign in (1, -1):  # shop windows on all sides
            for across, half in ((1, 0.5 * 0.985 * length), (0, 0.5 * 0.985 * width)):
                span = (width if across else length) * 0.985
                number = max(1, int(span / 4.5))
                for k in range(number):
                    a0, a1 = (-0.5 + (k + 0.1) / number) * span, (-0.5 + (k + 0.9) / number) * span
                    ends = (a0, a1) if (sign > 0) == bool(across) else (a1, a0)
                    points = [((sign * half, a) if across else (a, sign * half)) for a in ends]
                    (ax, ay), (bx, by) = points
                    parts.append(
                        panel(np.array([(ax, ay, 0.5), (bx, by, 0.5), (bx, by, 2.9), (ax, ay, 2.9)]),
                              (0.09, 0.10, 0.11),
                              GLASS,
                              lift=0.03))
        parts.append(box((0, 0, shop - 0.15), (length, width, 0.3), tuple(0.8 * np.array(trim))))
    if height > 18 and rng.random() < 0.5:  # a set-back tower on a base
        split = shop + 3.2 * max(1, int(0.4 * (top - shop) / 3.2))
        parts += [
            _block((0, 0), (0.97 * length, 0.97 * width), shop, split, color),
            _block((0, 0), (0.78 * length, 0.78 * width), split, top, _pick(rng, WALLS))
        ]
        ledge = 0.78
    else:
        parts.append(_block((0, 0), (0.97 * length, 0.97 * width), shop, top, color))
        parts.append(
            box((0, 0, top + 0.2), (length, width,
                                    0.4), trim) if height > 6 else box((0, 0, top - 0.15), (length, width, 0.3), trim))
        ledge = 0.97
    if height > 6:
        for _ in range(rng.integers(1, 4)):
            x, y = rng.uniform(-0.3, 0.3, 2) * (ledge * length, ledge * width)
            parts.append(
                box((x, y, 0.5 * (top + height)), (0.2 * length, 0.2 * width, height - top), (0.45, 0.45, 0.45)))
    return merge(parts)


def tree(rng: np.random.Generator, size: tuple[float, float, float]) -> Mesh:
    """A broad-leaved tree of several lumps, or a conifer of stacked cones."""
    width, length, height = size
    leaf = _pick(rng, LEAVES)
    bare = rng.uniform(0.24, 0.36) * height
    radius = max(0.05, 0.018 * height)
    parts = [cylinder((0, 0, 0), (0, 0, 0.7 * height), 1.5 * radius, TRUNK, end_radius=0.6 * radius, segments=7)]
    if rng.random() < 0.22:
        for k in range(4):
            low = (0.14 + 0.2 * k) * height
            cone = cylinder((0, 0, low), (0, 0, min(height, low + 0.34 * height)),
                            0.5 * width * (1 - 0.2 * k),
                            leaf,
                            FOLIAGE,
                            end_radius=0.02 * width,
                            segments=10)
            parts.append(_with_leaf_uv(cone))
        return merge(parts)
    number = int(rng.integers(4, 7))
    crown = height - bare
    for k in range(number):
        angle = 2 * np.pi * (k + rng.uniform(-0.2, 0.2)) / number
        out = 0.24 if k else 0.0
        lump = rng.uniform(0.24, 0.34) if k else 0.38
        z = bare + crown * (0.55 if not k else rng.uniform(0.32, 0.66))
        wobble = 1 + 0.13 * rng.standard_normal((6, 9)).clip(-1.5, 1.5)
        shade = tuple(np.clip(np.array(leaf) * rng.uniform(0.85, 1.15), 0, 1))
        parts.append(
            ellipsoid((out * length * np.cos(angle), out * width * np.sin(angle), z),
                      (lump * length, lump * width, (0.44 if not k else rng.uniform(0.24, 0.34)) * crown),
                      shade,
                      FOLIAGE,
                      segments=9,
                      rings=5,
                      wobble=wobble))
    return merge(parts)


def _with_leaf_uv(mesh: Mesh) -> Mesh:
    """Texture coordinates by direction and height, in metres, for meshes that have none."""
    x, y, z = np.moveaxis(mesh.positions, -1, 0)
    return Mesh(mesh.positions, mesh.normals, np.stack([1.3 * x - 0.7 * y, z + 0.5 * y], axis=-1), mesh.colors,
                mesh.materials)


def pole(rng: np.random.Generator, size: tuple[float, float, float]) -> Mesh:
    """A street lamp when tall, a traffic light in between, a road sign when low; its arm or face looks to +x."""
    width, length, height = size
    grey = tuple(np.array((0.34, 0.35, 0.36)) * rng.uniform(0.7, 1.2))
    foot = -0.5 * length + 0.12 if length > 0.6 else 0.0
    thick = min(0.09, 0.45 * width, 0.45 * length)
    parts = [
        cylinder((foot, 0, 0), (foot, 0, height), 1.25 * thick, grey, end_radius=0.7 * thick, segments=8),
        cylinder((foot, 0, 0), (foot, 0, 0.4), 1.9 * thick, grey, segments=8)
    ]
    if height > 5:
        reach = max(0.5 * length, foot + 0.6)
        parts += [
            cylinder((foot, 0, 0.97 * height), (reach - 0.2, 0, 0.985 * height), 0.05, grey, segments=6),
            box((reach - 0.35, 0, 0.975 * height), (0.7, min(0.3, width), 0.12), grey),
            box((reach - 0.35, 0, 0.965 * height), (0.55, min(0.22, 0.7 * width), 0.08), LAMP_GLOW, LAMP)
        ]
    elif height > 3.2:
        for z, color in ((0.93, (0.9, 0.1, 0.08)), (0.86, (0.25, 0.18, 0.03)), (0.79, (0.03, 0.2, 0.08))):
            parts += [
                box((foot + 0.14, 0, z * height), (0.16, 0.3, 0.075 * height), (0.08, 0.09, 0.08)),
                box((foot + 0.225, 0, z * height), (0.02, 0.19, 0.045 * height), color, LAMP)
            ]
    else:
        face = _pick(rng, ((0.75, 0.08, 0.08), (0.08, 0.25, 0.6), (0.9, 0.75, 0.1), (0.9, 0.9, 0.9)))
        wide = min(max(width, 0.3), 0.8)
        parts += [
            box((foot + 0.5 * thick, 0, height - 0.36), (0.05, wide, 0.7), face),
            box((foot + 0.5 * thick + 0.03, 0, height - 0.36), (0.02, 0.7 * wide, 0.16), (0.92, 0.92, 0.9))
        ]
    return merge(parts)


def wall(rng: np.random.Generator, size: tuple[float, float, float]) -> Mesh:
    """A garden wall with piers and coping, or a fence of boards."""
    width, length, height = size
    color = _pick(rng, WALLS)
    if rng.random() < 0.65:
        parts = [
            box((0, 0, 0.46 * height), (length, 0.75 * width, 0.92 * height), color),
            box((0, 0, 0.95 * height), (length, width, 0.1 * height), tuple(0.8 * np.array(color)))
        ]
        for x in np.arange(-0.5 * length + 0.2, 0.5 * length, 3.0):
            parts.append(box((x, 0, 0.48 * height), (0.36, 0.98 * width, 0.96 * height), tuple(0.9 * np.array(color))))
        return merge(parts)
    number = min(60, max(3, int(length / 0.35)))
    parts = [box((0, 0, z * height), (length, 0.4 * width, 0.07 * height), TRUNK) for z in (0.3, 0.75)]
    for k in range(number):
        shade = tuple(np.array((0.42, 0.34, 0.25)) * rng.uniform(0.85, 1.1))
        parts.append(
            box((-0.5 * length + (k + 0.5) * length / number, 0, 0.5 * height), (0.82 * length / number, width, height),
                shade))
    return merge(parts)


def skyline(rng: np.random.Generator, center: np.ndarray, inner: float) -> list[Mesh]:
    """Houses and woods on all sides of ``center`` (2,), from ``inner`` metres on, standing at z = 0; in 24 sectors."""
    sectors: list[list[Mesh]] = [[] for _ in range(24)]
    for k in range(144):
        angle, reach = 2 * np.pi * (k + rng.random()) / 144, inner + rng.uniform(0, 350)
        wide = rng.uniform(18, 45)
        if rng.random() < 0.6:
            high = rng.uniform(9, 26) * (1.0 + (rng.random() < 0.15) * rng.uniform(0.5, 2.0))
            block = _block((0, 0), (wide, rng.uniform(14, 30)), 0.0, high, _pick(rng, WALLS))
        else:
            wobble = 1 + 0.2 * rng.standard_normal((5, 9)).clip(-1.5, 1.5)
            block = ellipsoid((0, 0, 3), (1.2 * wide, 0.8 * wide, rng.uniform(6, 12)),
                              _pick(rng, LEAVES[:4]),
                              MATTE,
                              segments=9,
                              rings=4,
                              wobble=wobble)
        turn = rng.uniform(0, 2 * np.pi)
        rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        sectors[k // 6].append(
            block.transformed(rotation, (center[0] + reach * np.cos(angle), center[1] + reach * np.sin(angle), 0)))
    return [merge(parts) for parts in sectors]
