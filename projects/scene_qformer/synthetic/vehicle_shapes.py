"""Shapes of vehicles: x forward, y left, z up from the ground; roughly of the wanted size (`shapes` makes it exact)."""
from __future__ import annotations

import numpy as np

from .meshes import (GLASS, LAMP, MATTE, PAINT, Color, Mesh, box, cylinder, loft, merge, mirrored, panel)

TYRE: Color = (0.055, 0.055, 0.06)
RIM: Color = (0.55, 0.56, 0.58)
DARK: Color = (0.05, 0.05, 0.055)
PANE: Color = (0.05, 0.06, 0.07)
HEADLIGHT: Color = (1.0, 0.97, 0.86)
TAILLIGHT: Color = (0.75, 0.04, 0.05)
AMBER: Color = (1.0, 0.55, 0.08)
PLATE: Color = (0.85, 0.85, 0.82)
CAR_PAINTS: tuple[Color, ...] = (
    (0.86, 0.86, 0.85), (0.80, 0.81, 0.82), (0.09, 0.09, 0.10), (0.13, 0.13, 0.14), (0.42, 0.43, 0.45), (0.62, 0.63, 0.65),
    (0.28, 0.29, 0.31), (0.55, 0.06, 0.07), (0.07, 0.15, 0.36), (0.12, 0.25, 0.50), (0.10, 0.24, 0.18), (0.52, 0.45, 0.34),
    (0.85, 0.62, 0.10), (0.75, 0.33, 0.08))


def _pick(rng: np.random.Generator, choices: tuple[Color, ...]) -> Color:
    color = np.array(choices[rng.integers(len(choices))])
    return tuple(np.clip(color * rng.uniform(0.9, 1.1), 0, 1))


def _wheel(x: float, y: float, radius: float, width: float, arch: float = 0.0) -> Mesh:
    """A wheel whose outer face is at +y; with ``arch`` a dark arch of that relative radius behind it."""
    parts = [cylinder((x, y - width, radius), (x, y, radius), radius, TYRE, segments=14),
             cylinder((x, y - width, radius), (x, y + 0.008, radius), 0.62 * radius, RIM, segments=10,
                      cap=RIM),
             cylinder((x, y - width, radius), (x, y + 0.014, radius), 0.2 * radius, DARK, segments=6)]
    if arch:
        grown = arch * radius
        parts.append(cylinder((x, y - width, max(grown, radius * 1.02)), (x, y - 0.012, max(grown, radius * 1.02)), grown,
                              DARK, segments=14))
    return merge(parts)


def _rounded(half: float, low: float, high: float) -> list[tuple[float, float]]:
    """A car body's cross section, (y, z) counter-clockwise from the front."""
    rise = high - low
    right = [(0.84 * half, low), (half, low + 0.22 * rise), (half, low + 0.66 * rise), (0.95 * half, high - 0.08 * rise),
             (0.82 * half, high)]
    return [*right, *((-y, z) for y, z in reversed(right))]


# x where the windscreen starts, roof starts, roof ends, rear window ends; heights of tail and bonnet (of the height).
_BODIES = {'sedan': (0.215, 0.06, -0.20, -0.37, 0.60, 0.53), 'hatch': (0.245, 0.10, -0.33, -0.465, 0.57, 0.55),
           'suv': (0.235, 0.115, -0.40, -0.468, 0.57, 0.57), 'van': (0.36, 0.215, -0.445, -0.468, 0.52, 0.52)}


def car(rng: np.random.Generator, size: tuple[float, float, float], attribute: str, phase: float) -> Mesh:
    """A passenger car: sedan, hatchback, SUV or van."""
    width, length, height = size
    ratio = height / length
    kind = 'van' if ratio > 0.405 else str(rng.choice(['suv', 'hatch'] if ratio > 0.365 else ['sedan', 'sedan', 'hatch']))
    screen, roof_front, roof_rear, tail, deck, bonnet = _BODIES[kind]
    paint = _pick(rng, CAR_PAINTS)
    half = 0.47 * width  # mirrors reach the full width
    belt = 0.56 * height if kind == 'van' else 0.60 * height
    floor = 0.15 * height
    stations = [(-0.492, 0.22, 0.90 * deck, 0.86), (-0.472, 0.17, 0.99 * deck, 0.955), (tail - 0.004, 0.15, deck, 0.985),
                (0.5 * (tail + roof_rear), 0.15, belt / height, 1.0), (screen, 0.15, belt / height, 1.0),
                (0.5 * (screen + 0.43), 0.15, 0.5 * (belt / height + bonnet), 0.99), (0.43, 0.16, bonnet, 0.96),
                (0.47, 0.18, 0.90 * bonnet, 0.90), (0.49, 0.24, 0.72 * bonnet, 0.80)]
    stations.sort()
    body = loft(np.array([[(x * length, y, z) for y, z in _rounded(w * half, low * height, high * height)]
                          for x, low, high, w in stations]), paint, PAINT, crease=0.75)
    base, top = 0.935 * half, 0.76 * half

    def cabin(x: float, high: float, upper: float) -> list[tuple[float, float, float]]:
        side = [(base, belt - 0.06), (upper, high - min(0.09, 0.4 * (high - belt + 0.06))), (0.84 * upper, high)]
        return [(x * length, y, z) for y, z in [*side, *((-y, z) for y, z in reversed(side))]]

    crown = 0.5 * (roof_front + roof_rear)
    house = loft(np.array([cabin(tail, deck * height - 0.005, 0.9 * base), cabin(roof_rear, 0.985 * height, top),
                           cabin(crown, height, top), cabin(roof_front, 0.985 * height, top),
                           cabin(screen, belt + 0.012, 0.9 * base)]), paint, PAINT, crease=0.35)
    high = 0.985 * height - 0.09
    x_screen, x_front, x_rear, x_tail = (x * length for x in (screen, roof_front, roof_rear, tail))
    middle = 0.5 * (x_front + x_rear) - 0.04 * length
    parts = [body, house]
    side = []
    for start, end in ((x_front, middle), (middle, x_rear)):
        side.append(panel(np.array([(start, base, belt - 0.06), (end, base, belt - 0.06), (end, top, high),
                                    (start, top, high)]), PANE, GLASS, (0.035, 0.965, 0.16, 0.93)))
    side.append(panel(np.array([(x_screen, base, belt - 0.06), (x_front, base, belt - 0.06), (x_front, top, high),
                                (x_front + 0.03, top, high - 0.02)]), PANE, GLASS, (0.30, 0.97, 0.18, 0.86), lift=0.02))
    # Doors, sills, lamps, mirrors, wheels.
    flank_low, flank_high = floor + 0.22 * (belt - floor), floor + 0.66 * (belt - floor)
    for x in (x_front + 0.10 * length, middle, x_rear + 0.01 * length):
        side.append(panel(np.array([(x + 0.012, half, flank_low), (x - 0.012, half, flank_low),
                                    (x - 0.012, half, flank_high), (x + 0.012, half, flank_high)]),
                          tuple(0.45 * np.array(paint)), MATTE, lift=0.006))
    for x in (middle + 0.05 * length, x_rear + 0.06 * length):
        side.append(box((x, half, flank_high - 0.03), (0.14, 0.03, 0.025), tuple(0.6 * np.array(paint)), PAINT))
    side.append(box((x_screen - 0.10 * length * 0.5, half + 0.015 * width, belt + 0.04), (0.09, 0.03 * width * 2, 0.11), paint,
                    PAINT))
    side.append(box((0.476 * length, 0.64 * half, 0.71 * bonnet * height), (0.044 * length, 0.34 * half, 0.095 * height),
                    HEADLIGHT, LAMP, top=(0.6, 0.95), shift=(-0.012 * length, 0)))
    tall = kind != 'sedan'
    side.append(box((-0.485 * length, 0.72 * half, (0.76 if tall else 0.80) * deck * height),
                    (0.022 * length, 0.26 * half, (0.15 if tall else 0.08) * height), TAILLIGHT, LAMP))
    radius = min(0.205 * height, 0.36)
    for x in (0.305, -0.29):
        side.append(_wheel(x * length, half + 0.006, radius, 0.2, arch=1.13))
    parts.append(mirrored(merge(side)))
    parts.append(panel(np.array([(x_screen, -base, belt), (x_screen, base, belt), (x_front, top, 0.975 * height),
                                 (x_front, -top, 0.975 * height)]), PANE, GLASS, (0.06, 0.94, 0.10, 0.93), lift=0.03))
    parts.append(panel(np.array([(x_tail, base, deck * height), (x_tail, -base, deck * height),
                                 (x_rear, -top, 0.975 * height), (x_rear, top, 0.975 * height)]), PANE, GLASS,
                       (0.08, 0.92, 0.12, 0.88), lift=0.03))
    parts += [box((0.482 * length, 0, 0.60 * bonnet * height), (0.026 * length, 0.86 * half, 0.085 * height), DARK),
              box((0.485 * length, 0, 0.215 * height), (0.03 * length, 1.5 * half, 0.075 * height), DARK),
              box((0.495 * length, 0, 0.235 * height), (0.006 * length, 0.52, 0.11), PLATE),
              box((-0.49 * length, 0, 0.225 * height), (0.02 * length, 1.66 * half, 0.085 * height), DARK),
              box((-0.491 * length, 0, 0.62 * deck * height), (0.008 * length, 0.52, 0.12), PLATE),
              box((0, 0, 0.13 * height), (0.86 * length, 1.6 * half, 0.08 * height), DARK)]
    return merge(parts)


def emergency(rng: np.random.Generator, size: tuple[float, float, float], attribute: str, phase: float) -> Mesh:
    """A car in white with a light bar."""
    shape = car(rng, (size[0], size[1], 0.95 * size[2]), attribute, phase)
    bar = merge([box((-0.05 * size[1], y * size[0], 0.975 * size[2]), (0.3, 0.24 * size[0], 0.05 * size[2]), color, LAMP)
                 for y, color in ((0.14, (0.9, 0.05, 0.05)), (-0.14, (0.1, 0.2, 0.95)))])
    return merge([shape, bar])


def _windscreen(x: float, half: float, low: float, high: float, tilt: float) -> Mesh:
    """A front window on a plane that leans back by ``tilt`` metres."""
    return panel(np.array([(x, -half, low), (x, half, low), (x - tilt, half, high), (x - tilt, -half, high)]), PANE, GLASS,
                 (0.05, 0.95, 0.06, 0.94))


def _side_window(front: float, rear: float, y: float, low: float, high: float) -> Mesh:
    return panel(np.array([(front, y, low), (rear, y, low), (rear, y, high), (front, y, high)]), PANE, GLASS, lift=0.015)


def _cab(front: float, rear: float, half: float, floor: float, height: float, paint: Color, blunt: bool) -> list[Mesh]:
    """A lorry's cab between x = rear and x = front."""
    span = front - rear
    lean = 0.10 * span if blunt else 0.30 * span
    split = floor + 0.46 * (height - floor)
    parts = [box((0.5 * (front + rear), 0, 0.5 * (floor + split)), (span, 2 * half, split - floor), paint, PAINT),
             box((0.5 * (front + rear), 0, 0.5 * (split + height)), (span, 2 * half, height - split), paint, PAINT,
                 top=((span - lean) / span, 0.95), shift=(-0.5 * lean, 0)),
             _windscreen(front, half, split, height, lean),
             box((front - 0.005, 0, floor + 0.55 * (split - floor)), (0.03, 1.15 * half, 0.42 * (split - floor)), DARK),
             box((front, 0, floor + 0.06), (0.05, 1.9 * half, 0.16), (0.35, 0.35, 0.36))]
    side = [panel(np.array([(front - 0.12 * span, half, split), (front - 0.72 * span, half, split),
                            (front - 0.72 * span, 0.955 * half, height), (front - 0.12 * span - 0.9 * lean, 0.955 * half,
                                                                        height)]), PANE, GLASS, (0.05, 0.95, 0.06, 0.82)),
            box((front - 0.005, 0.80 * half, floor + 0.3), (0.04, 0.22 * half, 0.16), HEADLIGHT, LAMP),
            box((front - 0.1, half + 0.07, split + 0.35), (0.10, 0.14, 0.36), DARK)]
    return [*parts, mirrored(merge(side))]


def _rear_lamps(x: float, half: float, z: float) -> Mesh:
    return mirrored(merge([box((x, 0.84 * half, z), (0.03, 0.22 * half, 0.13), TAILLIGHT, LAMP),
                           box((x, 0.62 * half, z), (0.03, 0.14 * half, 0.11), AMBER, LAMP)]))


def truck(rng: np.random.Generator, size: tuple[float, float, float], attribute: str, phase: float) -> Mesh:
    """A pickup when low, else a lorry with a box, a flatbed with a load, or a tipper."""
    width, length, height = size
    half = 0.46 * width
    paint = _pick(rng, CAR_PAINTS + ((0.85, 0.86, 0.86), (0.80, 0.80, 0.80), (0.10, 0.22, 0.55)))
    if height < 2.15:
        return _pickup(rng, size, paint)
    radius = min(0.5, 0.18 * height)
    floor = 0.9 * radius
    cab_length = min(2.1, 0.32 * length)
    front, rear = 0.5 * length, -0.5 * length
    parts = _cab(front, front - cab_length, half, floor, 0.86 * height, paint, bool(rng.random() < 0.6))
    bed = 1.95 * radius
    parts.append(box((-0.02 * length, 0, 0.5 * (floor + bed)), (0.95 * length, 0.8 * width * 0.6, bed - floor), DARK))
    start = front - cab_length - 0.12
    middle, span = 0.5 * (start + rear), start - rear
    load = rng.choice(['box', 'box', 'box', 'tipper', 'flat'])
    if load == 'box':
        cargo: Color = _pick(rng, ((0.88, 0.88, 0.87), (0.85, 0.85, 0.82), (0.75, 0.77, 0.8), (0.2, 0.35, 0.6), (0.7, 0.5, 0.2)))
        parts.append(box((middle, 0, 0.5 * (bed + height)), (span, 2 * half * 1.03, height - bed), cargo, PAINT))
        stripe = _pick(rng, ((0.7, 0.1, 0.1), (0.1, 0.25, 0.6), (0.1, 0.5, 0.25), (0.9, 0.6, 0.1)))
        flank = np.array([(start, 1.03 * half, bed), (rear, 1.03 * half, bed), (rear, 1.03 * half, height),
                          (start, 1.03 * half, height)])
        low = rng.uniform(0.3, 0.6)
        parts.append(mirrored(panel(flank, stripe, PAINT, (0.08, 0.92, low, low + rng.uniform(0.08, 0.25)))))
        back = np.array([(rear, half, bed), (rear, -half, bed), (rear, -half, height), (rear, half, height)])
        parts += [panel(back, tuple(0.75 * np.array(cargo)), MATTE, (0.04, 0.485, 0.04, 0.95)),
                  panel(back, tuple(0.75 * np.array(cargo)), MATTE, (0.515, 0.96, 0.04, 0.95))]
    elif load == 'tipper':
        cargo = _pick(rng, ((0.75, 0.45, 0.08), (0.45, 0.46, 0.48), (0.6, 0.15, 0.1)))
        parts.append(box((middle, 0, bed + 0.29 * (height - bed)), (span, 1.7 * half, 0.58 * (height - bed)), cargo, MATTE,
                         top=(1.0, 1.2)))
        parts.append(box((middle, 0, bed + 0.72 * (height - bed)), (0.9 * span, 1.7 * half, 0.36 * (height - bed)),
                         (0.36, 0.29, 0.22), MATTE, top=(0.45, 0.5)))
        parts.append(box((start + 0.02, 0, 0.5 * (bed + height)), (0.06, 1.9 * half, height - bed), cargo))
        parts.append(mirrored(merge([box((middle + s * span, 0.97 * half, bed + 0.29 * (height - bed)),
                                         (0.08, 0.12, 0.56 * (height - bed)), tuple(0.8 * np.array(cargo)))
                                     for s in (-0.4, -0.2, 0, 0.2, 0.4)])))
    else:
        parts.append(box((middle, 0, bed + 0.05), (span, 2 * half, 0.12), (0.32, 0.25, 0.18)))
        for s in np.linspace(-0.34, 0.34, 3):
            tall = (height - bed - 0.1) * rng.uniform(0.65, 1.0)
            parts.append(box((middle + s * span, 0, bed + 0.1 + 0.5 * tall), (0.28 * span, 1.8 * half, tall),
                             _pick(rng, ((0.55, 0.42, 0.26), (0.3, 0.42, 0.55), (0.6, 0.6, 0.58)))))
        parts.append(box((start + 0.03, 0, 0.5 * (bed + height)), (0.08, 1.9 * half, height - bed), (0.4, 0.4, 0.4)))
    axles = [front - 0.55 * cab_length, rear + 0.17 * length]
    if length > 7.5:
        axles.append(rear + 0.17 * length + 2.3 * radius)
    parts.append(mirrored(merge([_wheel(x, 0.97 * half, radius, 0.3) for x in axles])))
    parts.append(_rear_lamps(rear + 0.01, half, bed - 0.1))
    parts.append(box((rear + 0.06, 0, floor + 0.06), (0.1, 1.7 * half, 0.1), DARK))
    return merge(parts)


def _pickup(rng: np.random.Generator, size: tuple[float, float, float], paint: Color) -> Mesh:
    """A pickup truck: bonnet, cab, open bed."""
    width, length, height = size
    half = 0.46 * width
    radius = min(0.4, 0.21 * height)
    floor, belt = 0.2 * height, 0.58 * height
    stations = [(-0.5, 0.24, 0.55, 0.95), (-0.485, 0.21, 0.58, 0.99), (0.2, 0.2, 0.58, 1.0), (0.45, 0.21, 0.56, 0.97),
                (0.5, 0.26, 0.50, 0.88)]
    body = loft(np.array([[(x * length, y, z) for y, z in _rounded(w * half, low * height, high * height)]
                          for x, low, high, w in stations]), paint, PAINT, crease=0.75)
    front, rear = 0.22 * length, -0.14 * length
    cab = box((0.5 * (front + rear), 0, 0.5 * (belt + height) - 0.02), (front - rear, 1.88 * half, height - belt + 0.04),
              paint, PAINT, top=(0.66, 0.84), shift=(-0.03 * length, 0))
    base, top = 0.94 * half, 0.79 * half
    low, high = belt - 0.04, height
    roof_front, roof_rear = 0.04 * length - 0.03 * length + 0.66 * 0.18 * length, 0.01 * length - 0.66 * 0.18 * length
    side = [panel(np.array([(front, base, low), (rear, base, low), (roof_rear, top, high), (roof_front, top, high)]), PANE,
                  GLASS, span, lift=0.012) for span in ((0.10, 0.5, 0.16, 0.86), (0.54, 0.94, 0.16, 0.86))]
    side += [_wheel(x * length, half + 0.006, radius, 0.25, arch=1.12) for x in (0.31, -0.31)]
    side += [box((0.485 * length, 0.74 * half, 0.45 * height), (0.03 * length, 0.26 * half, 0.09 * height), HEADLIGHT, LAMP),
             box((-0.493 * length, 0.86 * half, 0.46 * height), (0.016 * length, 0.16 * half, 0.16 * height), TAILLIGHT, LAMP),
             box((0.17 * length, half + 0.035, belt + 0.1), (0.12, 0.07, 0.16), DARK)]
    bed = panel(np.array([(-0.15 * length, -0.86 * half, 0.58 * height), (-0.15 * length, 0.86 * half, 0.58 * height),
                          (-0.49 * length, 0.86 * half, 0.58 * height),
                          (-0.49 * length, -0.86 * half, 0.58 * height)])[::-1], DARK, MATTE, lift=0.01)
    return merge([body, cab, bed, mirrored(merge(side)),
                  panel(np.array([(front, -base, low), (front, base, low), (roof_front, top, high), (roof_front, -top, high)]),
                        PANE, GLASS, (0.06, 0.94, 0.12, 0.92)),
                  panel(np.array([(rear, base, low), (rear, -base, low), (roof_rear, -top, high), (roof_rear, top, high)]),
                        PANE, GLASS, (0.08, 0.92, 0.2, 0.88)),
                  box((0.492 * length, 0, 0.42 * height), (0.014 * length, 1.0 * half, 0.13 * height), DARK),
                  box((-0.495 * length, 0, 0.29 * height), (0.01 * length, 1.8 * half, 0.07 * height), (0.5, 0.5, 0.5)),
                  box((0, 0, 0.5 * (0.12 * height + floor)), (0.9 * length, 1.5 * half, floor - 0.1 * height), DARK)])


def bus(rng: np.random.Generator, size: tuple[float, float, float], attribute: str, phase: float) -> Mesh:
    """A city bus with rows of windows, doors on its right and a lit display in front."""
    width, length, height = size
    half = 0.47 * width
    paint = _pick(rng, ((0.85, 0.85, 0.84), (0.15, 0.35, 0.65), (0.7, 0.12, 0.1), (0.12, 0.45, 0.3), (0.85, 0.65, 0.1)))
    accent = _pick(rng, ((0.1, 0.3, 0.6), (0.75, 0.15, 0.1), (0.9, 0.7, 0.1), (0.1, 0.5, 0.35), (0.2, 0.2, 0.22)))
    floor, waist, eaves = 0.10 * height, 0.40 * height, 0.82 * height

    def section(x: float, w: float, roof: float) -> list[tuple[float, float, float]]:
        side = [(w * half, floor), (w * half, eaves), (0.93 * w * half, 0.95 * roof), (0.72 * w * half, roof)]
        return [(x, y, z) for y, z in [*side, *((-y, z) for y, z in reversed(side))]]

    shell = loft(np.array([section(-0.5 * length, 0.97, 0.97 * height), section(-0.488 * length, 1.0, height),
                           section(0.475 * length, 1.0, height), section(0.5 * length, 0.96, 0.96 * height)]), paint, PAINT,
                 crease=0.5)
    front, rear = 0.475 * length, -0.488 * length
    number = max(3, int(round(length / 1.6)))
    pitch = (front - rear) / number
    windows = [_side_window(front - (k + 0.06) * pitch, front - (k + 0.94) * pitch, half, waist, 0.78 * height)
               for k in range(number)]
    flank = np.array([(front, half, floor), (rear, half, floor), (rear, half, waist), (front, half, waist)])
    windows.append(panel(flank, accent, PAINT, (0.0, 1.0, 0.62, 0.86)))
    radius = min(0.5, 0.15 * height)
    windows += [_wheel(x * length, half + 0.006, radius, 0.3, arch=1.12) for x in ((0.30, -0.27) if length < 14
                                                                                   else (0.34, 0.0, -0.33))]
    windows += [box((0.4985 * length, 0.76 * half, 0.22 * height), (0.006 * length, 0.26 * half, 0.06 * height), HEADLIGHT,
                    LAMP),
                box((-0.499 * length, 0.84 * half, 0.28 * height), (0.006 * length, 0.18 * half, 0.14 * height), TAILLIGHT,
                    LAMP),
                box((0.49 * length, half + 0.03 * width, 0.66 * height), (0.12, 0.06 * width, 0.3), DARK)]
    doors = []
    for start in (0.45 * length, -0.02 * length):
        door = np.array([(start - 1.25, -half, 0.12 * height), (start, -half, 0.12 * height), (start, -half, 0.8 * height),
                         (start - 1.25, -half, 0.8 * height)])
        doors += [panel(door, DARK, MATTE, lift=0.02), panel(door, PANE, GLASS, (0.06, 0.48, 0.06, 0.96), lift=0.03),
                  panel(door, PANE, GLASS, (0.52, 0.94, 0.06, 0.96), lift=0.03)]
    return merge([
        shell, mirrored(merge(windows)), *doors,
        _windscreen(0.5 * length, 0.96 * half, 0.34 * height, 0.81 * height, 0.0),
        box((0.4995 * length, 0, 0.87 * height), (0.004 * length, 1.3 * half, 0.07 * height), (1.0, 0.6, 0.1), LAMP),
        box((0.497 * length, 0, 0.11 * height), (0.008 * length, 1.8 * half, 0.05 * height), DARK),
        panel(np.array([(-0.5 * length, 0.9 * half, 0.5 * height), (-0.5 * length, -0.9 * half, 0.5 * height),
                        (-0.5 * length, -0.9 * half, 0.8 * height), (-0.5 * length, 0.9 * half, 0.8 * height)]), PANE, GLASS,
              (0.1, 0.9, 0.0, 1.0)),
        panel(np.array([(-0.5 * length, 0.8 * half, 0.16 * height), (-0.5 * length, -0.8 * half, 0.16 * height),
                        (-0.5 * length, -0.8 * half, 0.4 * height), (-0.5 * length, 0.8 * half, 0.4 * height)]), DARK),
        box((0, 0, 0.5 * floor + 0.04), (0.9 * length, 1.5 * half, floor), DARK),
        box((-0.3 * length, 0, 0.985 * height), (0.2 * length, 1.0 * half, 0.03 * height), tuple(0.8 * np.array(paint)))])


def trailer(rng: np.random.Generator, size: tuple[float, float, float], attribute: str, phase: float) -> Mesh:
    """A box or container on wheels, coupled at its front, or a flatbed with a load."""
    width, length, height = size
    half = 0.49 * width
    radius = min(0.5, 0.16 * height)
    bed = 2.15 * radius
    front, rear = 0.5 * length, -0.5 * length
    color = _pick(rng, ((0.86, 0.86, 0.85), (0.82, 0.82, 0.80), (0.5, 0.14, 0.1), (0.12, 0.28, 0.5), (0.2, 0.4, 0.3)))
    parts = [box((0.0, 0, bed - 0.14), (0.97 * length, 1.0 * half, 0.2), DARK)]
    if rng.random() < 0.75:
        parts.append(box((0, 0, 0.5 * (bed + height)), (length, 2 * half, height - bed), color, PAINT))
        ribs = max(4, int(length / 0.8))
        flank = np.array([(front, half, bed), (rear, half, bed), (rear, half, height), (front, half, height)])
        shade = tuple(0.8 * np.array(color))
        parts.append(mirrored(merge([panel(flank, shade, MATTE, ((k + 0.4) / ribs, (k + 0.6) / ribs, 0.03, 0.97), 0.01)
                                     for k in range(ribs)])))
        back = np.array([(rear, half, bed), (rear, -half, bed), (rear, -half, height), (rear, half, height)])
        parts += [panel(back, shade, MATTE, (u, u + 0.44, 0.03, 0.97)) for u in (0.04, 0.52)]
        parts += [panel(back, (0.7, 0.7, 0.7), MATTE, (u, u + 0.015, 0.05, 0.95), 0.025) for u in (0.25, 0.38, 0.6, 0.73)]
    else:
        parts.append(box((0, 0, bed + 0.04), (length, 2 * half, 0.2), (0.36, 0.28, 0.2)))
        parts.append(box((front - 0.06, 0, 0.5 * (bed + height)), (0.1, 2 * half, height - bed), color))
        for s in np.linspace(-0.36, 0.36, 4):
            tall = (height - bed - 0.14) * rng.uniform(0.6, 0.95)
            parts.append(box((s * length, 0, bed + 0.14 + 0.5 * tall), (0.22 * length, 1.85 * half, tall),
                             _pick(rng, ((0.55, 0.42, 0.26), (0.35, 0.42, 0.5), (0.6, 0.6, 0.58)))))
    axles = [rear + 0.10 * length, rear + 0.10 * length + 2.3 * radius]
    side = [_wheel(x, 0.98 * half, radius, 0.35) for x in axles]
    side.append(box((front - 0.24 * length, 0.6 * half, 0.5 * bed), (0.12, 0.12, 0.9 * bed), (0.3, 0.3, 0.3)))
    side.append(panel(np.array([(0.2 * length, half, 0.6 * bed), (-0.15 * length, half, 0.6 * bed),
                                (-0.15 * length, half, 0.95 * bed), (0.2 * length, half, 0.95 * bed)]), (0.5, 0.5, 0.5)))
    parts += [mirrored(merge(side)), _rear_lamps(rear + 0.015, half, bed - 0.2),
              box((rear + 0.05, 0, 0.75 * radius), (0.08, 1.8 * half, 0.12), (0.75, 0.12, 0.1))]
    return merge(parts)
