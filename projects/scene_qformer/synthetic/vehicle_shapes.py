"""Shapes of cars, and what all vehicles share.

x forward, y left, z up from the ground, metres; roughly of the wanted size, which `shapes` makes exact.
"""
from __future__ import annotations

import numpy as np

from .meshes import GLASS, LAMP, MATTE, PAINT, Color, Mesh, box, cylinder, loft, merge, mirrored, panel

TYRE: Color = (0.055, 0.055, 0.06)
RIM: Color = (0.55, 0.56, 0.58)
DARK: Color = (0.05, 0.05, 0.055)
PANE: Color = (0.05, 0.06, 0.07)
HEADLIGHT: Color = (1.0, 0.97, 0.86)
TAILLIGHT: Color = (0.75, 0.04, 0.05)
AMBER: Color = (1.0, 0.55, 0.08)
PLATE: Color = (0.85, 0.85, 0.82)
CAR_PAINTS: tuple[Color, ...] = ((0.86, 0.86, 0.85), (0.80, 0.81, 0.82), (0.09, 0.09, 0.10), (0.13, 0.13, 0.14),
                                 (0.42, 0.43, 0.45), (0.62, 0.63, 0.65), (0.28, 0.29, 0.31), (0.55, 0.06, 0.07),
                                 (0.07, 0.15, 0.36), (0.12, 0.25, 0.50), (0.10, 0.24, 0.18), (0.52, 0.45, 0.34),
                                 (0.85, 0.62, 0.10), (0.75, 0.33, 0.08))


def pick_paint(rng: np.random.Generator, choices: tuple[Color, ...]) -> Color:
    color = np.array(choices[rng.integers(len(choices))])
    return tuple(np.clip(color * rng.uniform(0.9, 1.1), 0, 1))


def wheel(x: float, y: float, radius: float, width: float, arch: float = 0.0) -> Mesh:
    """A wheel whose outer face is at +y; with ``arch`` a dark arch of that relative radius behind it."""
    parts = [
        cylinder((x, y - width, radius), (x, y, radius), radius, TYRE, segments=14),
        cylinder((x, y - width, radius), (x, y + 0.008, radius), 0.62 * radius, RIM, segments=10, cap=RIM),
        cylinder((x, y - width, radius), (x, y + 0.014, radius), 0.2 * radius, DARK, segments=6)
    ]
    if arch:
        grown = arch * radius
        parts.append(
            cylinder((x, y - width, max(grown, radius * 1.02)), (x, y - 0.012, max(grown, radius * 1.02)),
                     grown,
                     DARK,
                     segments=14))
    return merge(parts)


def rounded_section(half: float, low: float, high: float) -> list[tuple[float, float]]:
    """A car body's cross section, (y, z) counter-clockwise from the front."""
    rise = high - low
    right = [(0.84 * half, low), (half, low + 0.22 * rise), (half, low + 0.66 * rise),
             (0.95 * half, high - 0.08 * rise), (0.82 * half, high)]
    return [*right, *((-y, z) for y, z in reversed(right))]


# x where the windscreen starts, roof starts, roof ends, rear window ends; heights of tail and bonnet (of the height).
_BODIES = {
    'sedan': (0.215, 0.06, -0.20, -0.37, 0.60, 0.53),
    'hatch': (0.245, 0.10, -0.33, -0.465, 0.57, 0.55),
    'suv': (0.235, 0.115, -0.40, -0.468, 0.57, 0.57),
    'van': (0.36, 0.215, -0.445, -0.468, 0.52, 0.52)
}


def car(rng: np.random.Generator, size: tuple[float, float, float], attribute: str, phase: float) -> Mesh:
    """A passenger car: sedan, hatchback, SUV or van."""
    width, length, height = size
    ratio = height / length
    kind = 'van' if ratio > 0.405 else str(
        rng.choice(['suv', 'hatch'] if ratio > 0.365 else ['sedan', 'sedan', 'hatch']))
    screen, roof_front, roof_rear, tail, deck, bonnet = _BODIES[kind]
    paint = pick_paint(rng, CAR_PAINTS)
    half = 0.47 * width  # mirrors reach the full width
    belt = 0.56 * height if kind == 'van' else 0.60 * height
    floor = 0.15 * height
    stations = [(-0.492, 0.22, 0.90 * deck, 0.86), (-0.472, 0.17, 0.99 * deck, 0.955),
                (tail - 0.004, 0.15, deck, 0.985), (0.5 * (tail + roof_rear), 0.15, belt / height, 1.0),
                (screen, 0.15, belt / height, 1.0), (0.5 * (screen + 0.43), 0.15, 0.5 * (belt / height + bonnet), 0.99),
                (0.43, 0.16, bonnet, 0.96), (0.47, 0.18, 0.90 * bonnet, 0.90), (0.49, 0.24, 0.72 * bonnet, 0.80)]
    stations.sort()
    body = loft(np.array([[(x * length, y, z) for y, z in rounded_section(w * half, low * height, high * height)]
                          for x, low, high, w in stations]),
                paint,
                PAINT,
                crease=0.75)
    base, top = 0.935 * half, 0.76 * half

    def cabin(x: float, high: float, upper: float) -> list[tuple[float, float, float]]:
        side = [(base, belt - 0.06), (upper, high - min(0.09, 0.4 * (high - belt + 0.06))), (0.84 * upper, high)]
        return [(x * length, y, z) for y, z in [*side, *((-y, z) for y, z in reversed(side))]]

    crown = 0.5 * (roof_front + roof_rear)
    house = loft(np.array([
        cabin(tail, deck * height - 0.005, 0.9 * base),
        cabin(roof_rear, 0.985 * height, top),
        cabin(crown, height, top),
        cabin(roof_front, 0.985 * height, top),
        cabin(screen, belt + 0.012, 0.9 * base)
    ]),
                 paint,
                 PAINT,
                 crease=0.35)
    high = 0.985 * height - 0.09
    x_screen, x_front, x_rear, x_tail = (x * length for x in (screen, roof_front, roof_rear, tail))
    middle = 0.5 * (x_front + x_rear) - 0.04 * length
    parts = [body, house]
    side = []
    for start, end in ((x_front, middle), (middle, x_rear)):
        side.append(
            panel(
                np.array([(start, base, belt - 0.06), (end, base, belt - 0.06), (end, top, high), (start, top, high)]),
                PANE, GLASS, (0.035, 0.965, 0.16, 0.93)))
    side.append(
        panel(np.array([(x_screen, base, belt - 0.06), (x_front, base, belt - 0.06), (x_front, top, high),
                        (x_front + 0.03, top, high - 0.02)]),
              PANE,
              GLASS, (0.30, 0.97, 0.18, 0.86),
              lift=0.02))
    # Doors, sills, lamps, mirrors, wheels.
    flank_low, flank_high = floor + 0.22 * (belt - floor), floor + 0.66 * (belt - floor)
    for x in (x_front + 0.10 * length, middle, x_rear + 0.01 * length):
        side.append(
            panel(np.array([(x + 0.012, half, flank_low), (x - 0.012, half, flank_low), (x - 0.012, half, flank_high),
                            (x + 0.012, half, flank_high)]),
                  tuple(0.45 * np.array(paint)),
                  MATTE,
                  lift=0.006))
    for x in (middle + 0.05 * length, x_rear + 0.06 * length):
        side.append(box((x, half, flank_high - 0.03), (0.14, 0.03, 0.025), tuple(0.6 * np.array(paint)), PAINT))
    side.append(
        box((x_screen - 0.10 * length * 0.5, half + 0.015 * width, belt + 0.04), (0.09, 0.03 * width * 2, 0.11), paint,
            PAINT))
    side.append(
        box((0.476 * length, 0.64 * half, 0.71 * bonnet * height), (0.044 * length, 0.34 * half, 0.095 * height),
            HEADLIGHT,
            LAMP,
            top=(0.6, 0.95),
            shift=(-0.012 * length, 0)))
    tall = kind != 'sedan'
    side.append(
        box((-0.485 * length, 0.72 * half, (0.76 if tall else 0.80) * deck * height),
            (0.022 * length, 0.26 * half, (0.15 if tall else 0.08) * height), TAILLIGHT, LAMP))
    radius = min(0.205 * height, 0.36)
    for x in (0.305, -0.29):
        side.append(wheel(x * length, half + 0.006, radius, 0.2, arch=1.13))
    parts.append(mirrored(merge(side)))
    parts.append(
        panel(np.array([(x_screen, -base, belt), (x_screen, base, belt), (x_front, top, 0.975 * height),
                        (x_front, -top, 0.975 * height)]),
              PANE,
              GLASS, (0.06, 0.94, 0.10, 0.93),
              lift=0.03))
    parts.append(
        panel(np.array([(x_tail, base, deck * height), (x_tail, -base, deck * height), (x_rear, -top, 0.975 * height),
                        (x_rear, top, 0.975 * height)]),
              PANE,
              GLASS, (0.08, 0.92, 0.12, 0.88),
              lift=0.03))
    parts += [
        box((0.482 * length, 0, 0.60 * bonnet * height), (0.026 * length, 0.86 * half, 0.085 * height), DARK),
        box((0.485 * length, 0, 0.215 * height), (0.03 * length, 1.5 * half, 0.075 * height), DARK),
        box((0.495 * length, 0, 0.235 * height), (0.006 * length, 0.52, 0.11), PLATE),
        box((-0.49 * length, 0, 0.225 * height), (0.02 * length, 1.66 * half, 0.085 * height), DARK),
        box((-0.491 * length, 0, 0.62 * deck * height), (0.008 * length, 0.52, 0.12), PLATE),
        box((0, 0, 0.13 * height), (0.86 * length, 1.6 * half, 0.08 * height), DARK)
    ]
    return merge(parts)


def emergency(rng: np.random.Generator, size: tuple[float, float, float], attribute: str, phase: float) -> Mesh:
    """A car in white with a light bar."""
    shape = car(rng, (size[0], size[1], 0.95 * size[2]), attribute, phase)
    bar = merge([
        box((-0.05 * size[1], y * size[0], 0.975 * size[2]), (0.3, 0.24 * size[0], 0.05 * size[2]), color, LAMP)
        for y, color in ((0.14, (0.9, 0.05, 0.05)), (-0.14, (0.1, 0.2, 0.95)))
    ])
    return merge([shape, bar])
