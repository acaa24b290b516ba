"""Shapes of lorries, pickups, buses and trailers; frame and units as in `vehicle_shapes`."""
from __future__ import annotations

import numpy as np

from .meshes import GLASS, LAMP, MATTE, PAINT, Color, Mesh, box, loft, merge, mirrored, panel
from .vehicle_shapes import AMBER, CAR_PAINTS, DARK, HEADLIGHT, PANE, TAILLIGHT, pick_paint, rounded_section, wheel


def _windscreen(x: float, half: float, low: float, high: float, tilt: float) -> Mesh:
    """A front window on a plane that leans back by ``tilt`` metres."""
    return panel(np.array([(x, -half, low), (x, half, low), (x - tilt, half, high), (x - tilt, -half, high)]), PANE,
                 GLASS, (0.05, 0.95, 0.06, 0.94))


def _side_window(front: float, rear: float, y: float, low: float, high: float) -> Mesh:
    return panel(np.array([(front, y, low), (rear, y, low), (rear, y, high), (front, y, high)]),
                 PANE,
                 GLASS,
                 lift=0.015)


def _cab(front: float, rear: float, half: float, floor: float, height: float, paint: Color, blunt: bool) -> list[Mesh]:
    """A lorry's cab between x = rear and x = front."""
    span = front - rear
    lean = 0.10 * span if blunt else 0.30 * span
    split = floor + 0.46 * (height - floor)
    parts = [
        box((0.5 * (front + rear), 0, 0.5 * (floor + split)), (span, 2 * half, split - floor), paint, PAINT),
        box((0.5 * (front + rear), 0, 0.5 * (split + height)), (span, 2 * half, height - split),
            paint,
            PAINT,
            top=((span - lean) / span, 0.95),
            shift=(-0.5 * lean, 0)),
        _windscreen(front, half, split, height, lean),
        box((front - 0.005, 0, floor + 0.55 * (split - floor)), (0.03, 1.15 * half, 0.42 * (split - floor)), DARK),
        box((front, 0, floor + 0.06), (0.05, 1.9 * half, 0.16), (0.35, 0.35, 0.36))
    ]
    side = [
        panel(
            np.array([(front - 0.12 * span, half, split), (front - 0.72 * span, half, split),
                      (front - 0.72 * span, 0.955 * half, height),
                      (front - 0.12 * span - 0.9 * lean, 0.955 * half, height)]), PANE, GLASS,
            (0.05, 0.95, 0.06, 0.82)),
        box((front - 0.005, 0.80 * half, floor + 0.3), (0.04, 0.22 * half, 0.16), HEADLIGHT, LAMP),
        box((front - 0.1, half + 0.07, split + 0.35), (0.10, 0.14, 0.36), DARK)
    ]
    return [*parts, mirrored(merge(side))]


def _rear_lamps(x: float, half: float, z: float) -> Mesh:
    return mirrored(
        merge([
            box((x, 0.84 * half, z), (0.03, 0.22 * half, 0.13), TAILLIGHT, LAMP),
            box((x, 0.62 * half, z), (0.03, 0.14 * half, 0.11), AMBER, LAMP)
        ]))


def truck(rng: np.random.Generator, size: tuple[float, float, float], attribute: str, phase: float) -> Mesh:
    """A pickup when low, else a lorry with a box, a flatbed with a load, or a tipper."""
    width, length, height = size
    half = 0.46 * width
    paint = pick_paint(rng, CAR_PAINTS + ((0.85, 0.86, 0.86), (0.80, 0.80, 0.80), (0.10, 0.22, 0.55)))
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
        cargo: Color = pick_paint(rng, ((0.88, 0.88, 0.87), (0.85, 0.85, 0.82), (0.75, 0.77, 0.8), (0.2, 0.35, 0.6),
                                   (0.7, 0.5, 0.2)))
        parts.append(box((middle, 0, 0.5 * (bed + height)), (span, 2 * half * 1.03, height - bed), cargo, PAINT))
        stripe = pick_paint(rng, ((0.7, 0.1, 0.1), (0.1, 0.25, 0.6), (0.1, 0.5, 0.25), (0.9, 0.6, 0.1)))
        flank = np.array([(start, 1.03 * half, bed), (rear, 1.03 * half, bed), (rear, 1.03 * half, height),
                          (start, 1.03 * half, height)])
        low = rng.uniform(0.3, 0.6)
        parts.append(mirrored(panel(flank, stripe, PAINT, (0.08, 0.92, low, low + rng.uniform(0.08, 0.25)))))
        back = np.array([(rear, half, bed), (rear, -half, bed), (rear, -half, height), (rear, half, height)])
        parts += [
            panel(back, tuple(0.75 * np.array(cargo)), MATTE, (0.04, 0.485, 0.04, 0.95)),
            panel(back, tuple(0.75 * np.array(cargo)), MATTE, (0.515, 0.96, 0.04, 0.95))
        ]
    elif load == 'tipper':
        cargo = pick_paint(rng, ((0.75, 0.45, 0.08), (0.45, 0.46, 0.48), (0.6, 0.15, 0.1)))
        parts.append(
            box((middle, 0, bed + 0.29 * (height - bed)), (span, 1.7 * half, 0.58 * (height - bed)),
                cargo,
                MATTE,
                top=(1.0, 1.2)))
        parts.append(
            box((middle, 0, bed + 0.72 * (height - bed)), (0.9 * span, 1.7 * half, 0.36 * (height - bed)),
                (0.36, 0.29, 0.22),
                MATTE,
                top=(0.45, 0.5)))
        parts.append(box((start + 0.02, 0, 0.5 * (bed + height)), (0.06, 1.9 * half, height - bed), cargo))
        parts.append(
            mirrored(
                merge([
                    box((middle + s * span, 0.97 * half, bed + 0.29 * (height - bed)),
                        (0.08, 0.12, 0.56 * (height - bed)), tuple(0.8 * np.array(cargo)))
                    for s in (-0.4, -0.2, 0, 0.2, 0.4)
                ])))
    else:
        parts.append(box((middle, 0, bed + 0.05), (span, 2 * half, 0.12), (0.32, 0.25, 0.18)))
        for s in np.linspace(-0.34, 0.34, 3):
            tall = (height - bed - 0.1) * rng.uniform(0.65, 1.0)
            parts.append(
                box((middle + s * span, 0, bed + 0.1 + 0.5 * tall), (0.28 * span, 1.8 * half, tall),
                    pick_paint(rng, ((0.55, 0.42, 0.26), (0.3, 0.42, 0.55), (0.6, 0.6, 0.58)))))
        parts.append(box((start + 0.03, 0, 0.5 * (bed + height)), (0.08, 1.9 * half, height - bed), (0.4, 0.4, 0.4)))
    axles = [front - 0.55 * cab_length, rear + 0.17 * length]
    if length > 7.5:
        axles.append(rear + 0.17 * length + 2.3 * radius)
    parts.append(mirrored(merge([wheel(x, 0.97 * half, radius, 0.3) for x in axles])))
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
    body = loft(np.array([[(x * length, y, z) for y, z in rounded_section(w * half, low * height, high * height)]
                          for x, low, high, w in stations]),
                paint,
                PAINT,
                crease=0.75)
    front, rear = 0.22 * length, -0.14 * length
    cab = box((0.5 * (front + rear), 0, 0.5 * (belt + height) - 0.02),
              (front - rear, 1.88 * half, height - belt + 0.04),
              paint,
              PAINT,
              top=(0.66, 0.84),
              shift=(-0.03 * length, 0))
    base, top = 0.94 * half, 0.79 * half
    low, high = belt - 0.04, height
    roof_front, roof_rear = 0.04 * length - 0.03 * length + 0.66 * 0.18 * length, 0.01 * length - 0.66 * 0.18 * length
    side = [
        panel(np.array([(front, base, low), (rear, base, low), (roof_rear, top, high), (roof_front, top, high)]),
              PANE,
              GLASS,
              span,
              lift=0.012) for span in ((0.10, 0.5, 0.16, 0.86), (0.54, 0.94, 0.16, 0.86))
    ]
    side += [wheel(x * length, half + 0.006, radius, 0.25, arch=1.12) for x in (0.31, -0.31)]
    side += [
        box((0.485 * length, 0.74 * half, 0.45 * height), (0.03 * length, 0.26 * half, 0.09 * height), HEADLIGHT, LAMP),
        box((-0.493 * length, 0.86 * half, 0.46 * height), (0.016 * length, 0.16 * half, 0.16 * height), TAILLIGHT,
            LAMP),
        box((0.17 * length, half + 0.035, belt + 0.1), (0.12, 0.07, 0.16), DARK)
    ]
    bed = panel(np.array([(-0.15 * length, -0.86 * half, 0.58 * height), (-0.15 * length, 0.86 * half, 0.58 * height),
                          (-0.49 * length, 0.86 * half, 0.58 * height),
                          (-0.49 * length, -0.86 * half, 0.58 * height)])[::-1],
                DARK,
                MATTE,
                lift=0.01)
    return merge([
        body, cab, bed,
        mirrored(merge(side)),
        panel(np.array([(front, -base, low), (front, base, low), (roof_front, top, high), (roof_front, -top, high)]),
              PANE, GLASS, (0.06, 0.94, 0.12, 0.92)),
        panel(np.array([(rear, base, low), (rear, -base, low), (roof_rear, -top, high), (roof_rear, top, high)]), PANE,
              GLASS, (0.08, 0.92, 0.2, 0.88)),
        box((0.492 * length, 0, 0.42 * height), (0.014 * length, 1.0 * half, 0.13 * height), DARK),
        box((-0.495 * length, 0, 0.29 * height), (0.01 * length, 1.8 * half, 0.07 * height), (0.5, 0.5, 0.5)),
        box((0, 0, 0.5 * (0.12 * height + floor)), (0.9 * length, 1.5 * half, floor - 0.1 * height), DARK)
    ])


def bus(rng: np.random.Generator, size: tuple[float, float, float], attribute: str, phase: float) -> Mesh:
    """A city bus with rows of windows, doors on its right and a lit display in front."""
    width, length, height = size
    half = 0.47 * width
    paint = pick_paint(rng, ((0.85, 0.85, 0.84), (0.15, 0.35, 0.65), (0.7, 0.12, 0.1), (0.12, 0.45, 0.3),
                             (0.85, 0.65, 0.1)))
    accent = pick_paint(rng, ((0.1, 0.3, 0.6), (0.75, 0.15, 0.1), (0.9, 0.7, 0.1), (0.1, 0.5, 0.35), (0.2, 0.2, 0.22)))
    floor, waist, eaves = 0.10 * height, 0.40 * height, 0.82 * height

    def section(x: float, w: float, roof: float) -> list[tuple[float, float, float]]:
        side = [(w * half, floor), (w * half, eaves), (0.93 * w * half, 0.95 * roof), (0.72 * w * half, roof)]
        return [(x, y, z) for y, z in [*side, *((-y, z) for y, z in reversed(side))]]

    shell = loft(np.array([
        section(-0.5 * length, 0.97, 0.97 * height),
        section(-0.488 * length, 1.0, height),
        section(0.475 * length, 1.0, height),
        section(0.5 * length, 0.96, 0.96 * height)
    ]),
                 paint,
                 PAINT,
                 crease=0.5)
    front, rear = 0.475 * length, -0.488 * length
    number = max(3, int(round(length / 1.6)))
    pitch = (front - rear) / number
    windows = [
        _side_window(front - (k + 0.06) * pitch, front - (k + 0.94) * pitch, half, waist, 0.78 * height)
        for k in range(number)
    ]
    flank = np.array([(front, half, floor), (rear, half, floor), (rear, half, waist), (front, half, waist)])
    windows.append(panel(flank, accent, PAINT, (0.0, 1.0, 0.62, 0.86)))
    radius = min(0.5, 0.15 * height)
    windows += [
        wheel(x * length, half + 0.006, radius, 0.3, arch=1.12)
        for x in ((0.30, -0.27) if length < 14 else (0.34, 0.0, -0.33))
    ]
    windows += [
        box((0.4985 * length, 0.76 * half, 0.22 * height), (0.006 * length, 0.26 * half, 0.06 * height), HEADLIGHT,
            LAMP),
        box((-0.499 * length, 0.84 * half, 0.28 * height), (0.006 * length, 0.18 * half, 0.14 * height), TAILLIGHT,
            LAMP),
        box((0.49 * length, half + 0.03 * width, 0.66 * height), (0.12, 0.06 * width, 0.3), DARK)
    ]
    doors = []
    for start in (0.45 * length, -0.02 * length):
        door = np.array([(start - 1.25, -half, 0.12 * height), (start, -half, 0.12 * height),
                         (start, -half, 0.8 * height), (start - 1.25, -half, 0.8 * height)])
        doors += [
            panel(door, DARK, MATTE, lift=0.02),
            panel(door, PANE, GLASS, (0.06, 0.48, 0.06, 0.96), lift=0.03),
            panel(door, PANE, GLASS, (0.52, 0.94, 0.06, 0.96), lift=0.03)
        ]
    return merge([
        shell,
        mirrored(merge(windows)), *doors,
        _windscreen(0.5 * length, 0.96 * half, 0.34 * height, 0.81 * height, 0.0),
        box((0.4995 * length, 0, 0.87 * height), (0.004 * length, 1.3 * half, 0.07 * height), (1.0, 0.6, 0.1), LAMP),
        box((0.497 * length, 0, 0.11 * height), (0.008 * length, 1.8 * half, 0.05 * height), DARK),
        panel(
            np.array([(-0.5 * length, 0.9 * half, 0.5 * height), (-0.5 * length, -0.9 * half, 0.5 * height),
                      (-0.5 * length, -0.9 * half, 0.8 * height), (-0.5 * length, 0.9 * half, 0.8 * height)]), PANE,
            GLASS, (0.1, 0.9, 0.0, 1.0)),
        panel(
            np.array([(-0.5 * length, 0.8 * half, 0.16 * height), (-0.5 * length, -0.8 * half, 0.16 * height),
                      (-0.5 * length, -0.8 * half, 0.4 * height), (-0.5 * length, 0.8 * half, 0.4 * height)]), DARK),
        box((0, 0, 0.5 * floor + 0.04), (0.9 * length, 1.5 * half, floor), DARK),
        box((-0.3 * length, 0, 0.985 * height), (0.2 * length, 1.0 * half, 0.03 * height), tuple(0.8 * np.array(paint)))
    ])


def trailer(rng: np.random.Generator, size: tuple[float, float, float], attribute: str, phase: float) -> Mesh:
    """A box or container on wheels, coupled at its front, or a flatbed with a load."""
    width, length, height = size
    half = 0.49 * width
    radius = min(0.5, 0.16 * height)
    bed = 2.15 * radius
    front, rear = 0.5 * length, -0.5 * length
    color = pick_paint(rng, ((0.86, 0.86, 0.85), (0.82, 0.82, 0.80), (0.5, 0.14, 0.1), (0.12, 0.28, 0.5),
                             (0.2, 0.4, 0.3)))
    parts = [box((0.0, 0, bed - 0.14), (0.97 * length, 1.0 * half, 0.2), DARK)]
    if rng.random() < 0.75:
        parts.append(box((0, 0, 0.5 * (bed + height)), (length, 2 * half, height - bed), color, PAINT))
        ribs = max(4, int(length / 0.8))
        flank = np.array([(front, half, bed), (rear, half, bed), (rear, half, height), (front, half, height)])
        shade = tuple(0.8 * np.array(color))
        parts.append(
            mirrored(
                merge([
                    panel(flank, shade, MATTE, ((k + 0.4) / ribs, (k + 0.6) / ribs, 0.03, 0.97), 0.01)
                    for k in range(ribs)
                ])))
        back = np.array([(rear, half, bed), (rear, -half, bed), (rear, -half, height), (rear, half, height)])
        parts += [panel(back, shade, MATTE, (u, u + 0.44, 0.03, 0.97)) for u in (0.04, 0.52)]
        parts += [
            panel(back, (0.7, 0.7, 0.7), MATTE, (u, u + 0.015, 0.05, 0.95), 0.025) for u in (0.25, 0.38, 0.6, 0.73)
        ]
    else:
        parts.append(box((0, 0, bed + 0.04), (length, 2 * half, 0.2), (0.36, 0.28, 0.2)))
        parts.append(box((front - 0.06, 0, 0.5 * (bed + height)), (0.1, 2 * half, height - bed), color))
        for s in np.linspace(-0.36, 0.36, 4):
            tall = (height - bed - 0.14) * rng.uniform(0.6, 0.95)
            parts.append(
                box((s * length, 0, bed + 0.14 + 0.5 * tall), (0.22 * length, 1.85 * half, tall),
                    pick_paint(rng, ((0.55, 0.42, 0.26), (0.35, 0.42, 0.5), (0.6, 0.6, 0.58)))))
    axles = [rear + 0.10 * length, rear + 0.10 * length + 2.3 * radius]
    side = [wheel(x, 0.98 * half, radius, 0.35) for x in axles]
    side.append(box((front - 0.24 * length, 0.6 * half, 0.5 * bed), (0.12, 0.12, 0.9 * bed), (0.3, 0.3, 0.3)))
    side.append(
        panel(
            np.array([(0.2 * length, half, 0.6 * bed), (-0.15 * length, half, 0.6 * bed),
                      (-0.15 * length, half, 0.95 * bed), (0.2 * length, half, 0.95 * bed)]), (0.5, 0.5, 0.5)))
    parts += [
        mirrored(merge(side)),
        _rear_lamps(rear + 0.015, half, bed - 0.2),
        box((rear + 0.05, 0, 0.75 * radius), (0.08, 1.8 * half, 0.12), (0.75, 0.12, 0.1))
    ]
    return merge(parts)
