"""Shapes of people and of what they ride; frame and units as in `vehicle_shapes`."""
from __future__ import annotations

import numpy as np

from .meshes import GLASS, LAMP, MATTE, PAINT, Color, Mesh, box, cylinder, ellipsoid, fit_to_box, merge, mirrored, quads
from .vehicle_shapes import DARK, HEADLIGHT, RIM, TAILLIGHT, TYRE

SKINS: tuple[Color, ...] = ((0.85, 0.65, 0.53), (0.72, 0.52, 0.40), (0.52, 0.35, 0.25), (0.36, 0.24, 0.18))
TOPS: tuple[Color,
            ...] = ((0.75, 0.14, 0.14), (0.14, 0.26, 0.55), (0.16, 0.17, 0.19), (0.82, 0.82, 0.80), (0.2, 0.42, 0.26),
                    (0.80, 0.60, 0.15), (0.45, 0.22, 0.45), (0.38, 0.40, 0.43), (0.20, 0.50, 0.56), (0.6, 0.42, 0.3))
TROUSERS: tuple[Color, ...] = ((0.11, 0.13, 0.22), (0.09, 0.09, 0.10), (0.33, 0.30, 0.26), (0.20, 0.28, 0.42),
                               (0.48, 0.44, 0.36))
HAIR: tuple[Color, ...] = ((0.07, 0.05, 0.04), (0.22, 0.14, 0.08), (0.5, 0.38, 0.2), (0.45, 0.45, 0.45))
HIGH_VISIBILITY: Color = (0.95, 0.62, 0.05)
SHOE: Color = (0.08, 0.07, 0.07)


def _pick(rng: np.random.Generator, choices: tuple[Color, ...]) -> Color:
    return tuple(np.clip(np.array(choices[rng.integers(len(choices))]) * rng.uniform(0.85, 1.15), 0, 1))


def _limb(joints: list[tuple[float, float, float]], radii: list[float], colors: list[Color]) -> Mesh:
    """Tapered tubes from joint to joint, with a ball in each bend."""
    tubes = [
        cylinder(start, end, r0, color, end_radius=r1, segments=7)
        for start, end, r0, r1, color in zip(joints[:-1], joints[1:], radii[:-1], radii[1:], colors)
    ]
    balls = [
        ellipsoid(joint, (1.06 * radius, ) * 3, color, segments=6, rings=4)
        for joint, radius, color in zip(joints[1:-1], radii[1:-1], colors)
    ]
    return merge([*tubes, *balls])


def _head(x: float, z: float, height: float, skin: Color, hair: Color, hat: Color | None) -> list[Mesh]:
    """Head with its chin at z; looks towards +x."""
    tall = 0.135 * height
    parts = [
        ellipsoid((x, 0, z + 0.5 * tall), (0.42 * tall, 0.36 * tall, 0.52 * tall), skin, segments=8, rings=5),
        box((x + 0.42 * tall, 0, z + 0.45 * tall), (0.05 * tall, 0.09 * tall, 0.14 * tall), skin)
    ]
    if hat is None:
        parts.append(
            ellipsoid((x - 0.07 * tall, 0, z + 0.66 * tall), (0.42 * tall, 0.41 * tall, 0.40 * tall),
                      hair,
                      segments=8,
                      rings=4))
    else:
        parts += [
            ellipsoid((x, 0, z + 0.72 * tall), (0.50 * tall, 0.45 * tall, 0.34 * tall), hat, PAINT, segments=8,
                      rings=4),
            box((x + 0.12 * tall, 0, z + 0.72 * tall), (1.0 * tall, 0.8 * tall, 0.05 * tall), hat, PAINT)
        ]
    return parts


def _walker(rng: np.random.Generator,
            size: tuple[float, float, float],
            attribute: str,
            phase: float,
            vest: Color | None = None,
            hat: Color | None = None) -> Mesh:
    """A person on foot. The legs and arms of a walking person swing with ``phase``."""
    width, length, height = size
    skin, top, trousers, hair = _pick(rng, SKINS), _pick(rng, TOPS), _pick(rng, TROUSERS), _pick(rng, HAIR)
    sleeve = top if rng.random() < 0.7 else skin
    extra = 'backpack' if rng.random() < 0.6 else 'bag'
    skirt = rng.random() < 0.18
    top = vest or top
    moving = attribute == 'pedestrian.moving'
    sitting = attribute == 'pedestrian.sitting_lying_down'
    hip, shoulder = 0.50 * height, 0.81 * height
    half = 0.5 * width
    stride = 0.42 * length
    parts: list[Mesh] = []
    for side, shift in ((1.0, 0.0), (-1.0, np.pi)):
        swing = np.sin(phase + shift) if moving else 0.30 * side
        lift = max(0.0, np.cos(phase + shift)) * 0.05 * height if moving else 0.0
        foot_x = stride * swing
        knee = (0.5 * foot_x + 0.035 * height * (1.0 if moving else 0.3), side * 0.26 * half * 1.05,
                0.27 * height + lift)
        ankle = (foot_x - 0.02 * height, side * 0.26 * half, 0.045 * height + lift)
        if sitting:
            knee, ankle = (0.8 * stride, side * 0.3 * half, 0.42 * height), (0.8 * stride, side * 0.3 * half,
                                                                             0.05 * height)
        shin = skin if skirt else trousers
        parts.append(
            _limb([(0, side * 0.24 * half, hip), knee, ankle], [0.062 * height, 0.045 * height, 0.034 * height],
                  [trousers, shin]))
        parts.append(
            box((ankle[0] + 0.035 * height, ankle[1], ankle[2] - 0.02 * height),
                (0.16 * height, 0.055 * height, 0.05 * height), SHOE))
        # Hands and heels reach towards the front and rear of the box, so that little stretching is left to do.
        reach = -0.75 * stride * swing if moving else (0.36 if side > 0 else -0.05) * length
        elbow = (0.40 * reach - 0.04 * height, side * 0.84 * half, 0.645 * height)
        hand = (reach + (0.15 if moving else 0.05) * height, side * 0.87 * half, (0.52 if side < 0 else 0.58) * height)
        parts.append(
            _limb([(0, side * 0.70 * half, shoulder - 0.02 * height), elbow, hand],
                  [0.040 * height, 0.033 * height, 0.026 * height], [top, sleeve]))
        parts.append(ellipsoid(hand, (0.028 * height, 0.024 * height, 0.036 * height), skin, segments=6, rings=4))
    torso = box((0, 0, 0.5 * (hip + shoulder)), (0.135 * height, 0.98 * half, shoulder - hip + 0.05 * height),
                top,
                top=(0.95, 1.32))
    parts += [
        torso,
        ellipsoid((0, 0, shoulder), (0.075 * height, 0.68 * half, 0.05 * height), top, segments=8, rings=4),
        cylinder((0, 0, shoulder), (0.01 * height, 0, 0.88 * height), 0.032 * height, skin, segments=6)
    ]
    if skirt and not sitting:
        parts.append(
            cylinder((0, 0, 0.30 * height), (0, 0, 0.55 * height),
                     0.11 * height,
                     trousers,
                     end_radius=0.075 * height,
                     segments=8))
    if vest is not None:
        for z in (0.60, 0.68):
            parts.append(box((0, 0, z * height), (0.150 * height, 1.17 * half, 0.022 * height), (0.85, 0.86, 0.82)))
    if extra == 'backpack':
        color = _pick(rng, TOPS)
        parts.append(
            box((-0.115 * height, 0, 0.70 * height), (0.10 * height, 0.72 * half, 0.21 * height), color,
                top=(0.8, 0.9)))
    elif extra == 'bag':
        color = _pick(rng, TOPS)
        parts.append(
            box((-0.07 * height, -0.88 * half, 0.44 * height), (0.2 * height, 0.05 * height, 0.13 * height), color))
    parts += _head(0.012 * height, 0.865 * height, height, skin, hair, hat)
    return merge(parts)


def pedestrian(rng: np.random.Generator, size: tuple[float, float, float], attribute: str, phase: float) -> Mesh:
    """An adult or child in everyday clothes."""
    return _walker(rng, size, attribute, phase)


def construction_worker(rng: np.random.Generator, size: tuple[float, float, float], attribute: str,
                        phase: float) -> Mesh:
    """A worker in a high-visibility vest and a helmet."""
    return _walker(rng, size, attribute, phase, vest=HIGH_VISIBILITY, hat=(0.95, 0.8, 0.1))


def police_officer(rng: np.random.Generator, size: tuple[float, float, float], attribute: str, phase: float) -> Mesh:
    """An officer in dark blue with a cap."""
    return _walker(rng, size, attribute, phase, vest=(0.10, 0.14, 0.28), hat=(0.08, 0.1, 0.2))


def rolling_person(rng: np.random.Generator, size: tuple[float, float, float], attribute: str, phase: float) -> Mesh:
    """Somebody in a wheelchair, with a stroller, or on a small vehicle."""
    width, length, height = size
    seat = _walker(rng, (0.8 * width, 0.8 * length, height), 'pedestrian.sitting_lying_down', phase)
    radius = 0.22 * height
    wheels = mirrored(
        merge(
            [_tyre(-0.15 * length, radius, 0.47 * width, 0.04),
             _tyre(0.35 * length, 0.4 * radius, 0.4 * width, 0.04)]))
    return merge([
        seat, wheels,
        box((-0.1 * length, 0, 0.42 * height), (0.5 * length, 0.7 * width, 0.05 * height), DARK),
        box((-0.36 * length, 0, 0.58 * height), (0.05 * length, 0.7 * width, 0.34 * height), DARK)
    ])


def _tyre(x: float, radius: float, y: float, width: float, segments: int = 16, tube: float = 0.13) -> Mesh:
    """A wheel seen through: a flat ring with spokes, its middle at ``y``."""
    angle = 2 * np.pi * np.arange(segments) / segments
    ring = np.stack([np.cos(angle), np.zeros(segments), np.sin(angle)], axis=-1)
    center = np.array([x, y, radius])
    side = np.array([0, 0.5 * width, 0])
    outer, inner = center + radius * ring, center + (1 - tube) * radius * ring
    nxt = np.roll(np.arange(segments), -1)
    faces = np.concatenate([
        np.stack([outer - side, outer + side, outer[nxt] + side, outer[nxt] - side], axis=1),
        np.stack([inner + side, inner - side, inner[nxt] - side, inner[nxt] + side], axis=1),
        np.stack([inner + side, inner[nxt] + side, outer[nxt] + side, outer + side], axis=1),
        np.stack([outer - side, outer[nxt] - side, inner[nxt] - side, inner - side], axis=1)
    ])
    spokes = [
        cylinder(center - 0.9 * radius * d, center + 0.9 * radius * d, 0.012, RIM, segments=4)
        for d in (np.array([np.cos(a), 0, np.sin(a)]) for a in np.pi * np.arange(4) / 4)
    ]
    return merge([quads(_outward(faces, center), TYRE), *spokes])


def _outward(faces: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Reverse the ring's faces if they were wound inside out: its outer rim must look away from the hub."""
    normal = np.cross(faces[0, 1] - faces[0, 0], faces[0, 2] - faces[0, 0])
    return faces if normal @ (faces[0].mean(axis=0) - center) > 0 else faces[:, ::-1]


def _rider(rng: np.random.Generator, seat: tuple[float, float], grip: tuple[float, float], pedal: float, height: float,
           width: float, phase: float, helmet: bool) -> Mesh:
    """A person on a saddle at (x, z) ``seat``, hands at ``grip``, feet around height ``pedal``; up to ``height``."""
    skin, top, trousers, hair = _pick(rng, SKINS), _pick(rng, TOPS), _pick(rng, TROUSERS), _pick(rng, HAIR)
    hat = _pick(rng, ((0.9, 0.9, 0.9), (0.1, 0.1, 0.1), (0.8, 0.15, 0.1), (0.1, 0.3, 0.7))) if helmet else None
    body = height - seat[1]
    shoulder = (seat[0] + 0.30 * body, seat[1] + 0.68 * body)
    half = 0.45 * width
    unit = 1.9 * body
    parts: list[Mesh] = []
    for side, shift in ((1.0, 0.0), (-1.0, np.pi)):
        turn = phase + shift
        foot = (seat[0] + 0.14 * body + 0.09 * np.cos(turn), side * 0.14, pedal + 0.09 * np.sin(turn))
        knee = (0.5 * (seat[0] + foot[0]) + 0.34 * body, side * 0.16, 0.55 * seat[1] + 0.45 * foot[2] + 0.10 * body)
        parts.append(
            _limb([(seat[0], side * 0.1, seat[1] + 0.05 * body), knee, foot], [0.060 * unit, 0.045 * unit, 0.03 * unit],
                  [trousers, trousers]))
        parts.append(box((foot[0] + 0.05, foot[1], foot[2] - 0.01), (0.22, 0.08, 0.07), SHOE))
        elbow = (0.5 * (shoulder[0] + grip[0]) - 0.04, side * (0.72 * half + 0.03),
                 0.5 * (shoulder[1] + grip[1]) - 0.05)
        parts.append(
            _limb([(shoulder[0], side * 0.68 * half, shoulder[1] - 0.03), elbow, (grip[0], side * 0.8 * half, grip[1])],
                  [0.040 * unit, 0.034 * unit, 0.026 * unit], [top, top]))
    lean = np.array([shoulder[0] - seat[0], 0, shoulder[1] - seat[1]])
    tilt = np.arctan2(lean[0], lean[2])
    turn_y = np.array([[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0], [-np.sin(tilt), 0, np.cos(tilt)]])
    tall = float(np.linalg.norm(lean))
    torso = box((0, 0, 0.5 * tall), (0.13 * unit, 1.05 * half, tall + 0.05), top, top=(0.95, 1.3))
    parts.append(torso.transformed(turn_y, (seat[0], 0, seat[1])))
    parts.append(
        ellipsoid((shoulder[0], 0, shoulder[1]), (0.075 * unit, 0.68 * half, 0.06 * unit), top, segments=8, rings=4))
    chin = height - 0.145 * unit
    parts.append(
        cylinder((shoulder[0], 0, shoulder[1]), (shoulder[0] + 0.03 * unit, 0, chin + 0.04),
                 0.035 * unit,
                 skin,
                 segments=6))
    parts += _head(shoulder[0] + 0.045 * unit, chin, unit, skin, hair, hat)
    return merge(parts)


def _ridden(attribute: str) -> bool:
    return attribute == 'cycle.with_rider'


def bicycle(rng: np.random.Generator, size: tuple[float, float, float], attribute: str, phase: float) -> Mesh:
    """A bicycle, with its rider if the attribute says so."""
    width, length, height = size
    color = _pick(rng, TOPS)
    bike_height = min(height, 1.05) if _ridden(attribute) else height
    radius = min(0.36, 0.24 * length, 0.4 * bike_height)
    front, rear = 0.5 * length - radius, -0.5 * length + radius
    saddle, bars = 0.93 * bike_height, bike_height
    if _ridden(attribute):
        saddle, bars = 0.56 * height, 0.62 * height
    crank = (0.05 * length + 0.3 * rear, 0.0, 0.85 * radius)
    seat = (0.42 * rear, 0.0, saddle)
    head = (front - 0.22, 0.0, bars - 0.08)
    tubes = [(crank, seat), (crank, head), ((seat[0], 0, saddle - 0.12), head), (crank, (rear, 0, radius)),
             ((seat[0], 0, saddle - 0.12), (rear, 0, radius)), (head, (front, 0, radius))]
    parts = [_tyre(front, radius, 0.0, 0.045), _tyre(rear, radius, 0.0, 0.045)]
    parts += [cylinder(start, end, 0.024, color, PAINT, segments=6) for start, end in tubes]
    parts += [
        box((seat[0], 0, saddle), (0.26, 0.14, 0.06), DARK, top=(1.0, 0.9)),
        cylinder((head[0], -0.49 * width, bars), (head[0], 0.49 * width, bars), 0.018, DARK, segments=6),
        cylinder((head[0], 0, bars), (head[0], 0, bars - 0.2), 0.02, DARK, segments=6),
        box((head[0] + 0.06, 0, bars - 0.1), (0.05, 0.07, 0.07), HEADLIGHT, LAMP),
        box((rear - 0.03, 0, 2.05 * radius), (0.04, 0.06, 0.06), TAILLIGHT, LAMP),
        cylinder((crank[0], -0.1, crank[2]), (crank[0], 0.1, crank[2]), 0.09, RIM, segments=8)
    ]
    if _ridden(attribute):
        parts.append(
            _rider(rng, (seat[0], saddle), (head[0], bars + 0.03), 0.8 * radius, height, width, phase,
                   bool(rng.random() < 0.6)))
    return merge(parts)


def motorcycle(rng: np.random.Generator, size: tuple[float, float, float], attribute: str, phase: float) -> Mesh:
    """A motorcycle or scooter, with its rider if the attribute says so."""
    width, length, height = size
    paint = _pick(rng, TOPS)
    ridden = _ridden(attribute)
    bike_height = 0.72 * height if ridden else height
    radius = min(0.34, 0.28 * bike_height)
    front, rear = 0.5 * length - radius, -0.5 * length + radius
    bars = 0.78 * bike_height if not ridden else 0.98 * bike_height
    saddle = 0.60 * bike_height if not ridden else 0.70 * bike_height
    parts = []
    if not ridden:  # a high windscreen and a top case fill the box
        parts += [
            box((front - 0.22, 0, 0.88 * bike_height), (0.05, 0.42 * width, 0.24 * bike_height), (0.22, 0.27, 0.30),
                GLASS,
                top=(1.0, 0.8),
                shift=(-0.08, 0)),
            box((-0.40 * length, 0, saddle + 0.16 * bike_height), (0.17 * length, 0.42 * width, 0.20 * bike_height),
                DARK,
                top=(0.9, 0.9))
        ]
    for x in (front, rear):
        parts += [
            cylinder((x, -0.07, radius), (x, 0.07, radius), radius, TYRE, segments=14),
            cylinder((x, -0.075, radius), (x, 0.075, radius), 0.55 * radius, RIM, segments=10)
        ]
    parts += [
        box((0.02 * length, 0, 1.05 * radius), (0.30 * length, 0.32 * width, 0.9 * radius), (0.25, 0.25, 0.26)),
        box((0.06 * length, 0, saddle + 0.02), (0.26 * length, 0.34 * width, 0.2 * bike_height),
            paint,
            PAINT,
            top=(0.7, 0.75)),
        box((-0.20 * length, 0, saddle), (0.34 * length, 0.32 * width, 0.10 * bike_height), DARK, top=(0.95, 0.8)),
        box((-0.36 * length, 0, saddle - 0.02), (0.16 * length, 0.2 * width, 0.12 * bike_height),
            paint,
            PAINT,
            top=(0.7, 1)),
        box((front, 0, 2.0 * radius), (0.9 * radius, 0.18, 0.1 * radius), paint, PAINT),
        box((front - 0.14, 0, bars - 0.14 * bike_height), (0.16, 0.30 * width, 0.2 * bike_height),
            paint,
            PAINT,
            top=(0.6, 0.8)),
        box((front - 0.06, 0, bars - 0.15 * bike_height), (0.05, 0.18, 0.12), HEADLIGHT, LAMP),
        box((front - 0.17, 0, bars - 0.01), (0.03, 0.26 * width, 0.14 * bike_height), (0.25, 0.3, 0.33), GLASS),
        box((-0.445 * length, 0, saddle - 0.01), (0.03, 0.14, 0.07), TAILLIGHT, LAMP),
        box((-0.46 * length, 0, saddle - 0.2), (0.02, 0.2, 0.12), (0.85, 0.85, 0.8)),
        cylinder((front - 0.2, -0.5 * width, bars - 0.04), (front - 0.2, 0.5 * width, bars - 0.04),
                 0.022,
                 DARK,
                 segments=6)
    ]
    parts.append(
        mirrored(
            merge([
                cylinder((front - 0.12, 0.1, bars - 0.1), (front, 0.1, radius), 0.028, RIM, segments=6),
                box((front - 0.17, 0.44 * width, bars + 0.04), (0.03, 0.10 * width, 0.08), DARK)
            ])))
    parts.append(
        cylinder((0.0, -0.2 * width, 0.8 * radius), (-0.42 * length, -0.22 * width, 1.1 * radius),
                 0.05,
                 RIM,
                 MATTE,
                 segments=8))
    if ridden:
        parts.append(
            _rider(rng, (-0.14 * length, saddle + 0.05), (front - 0.2, bars), 1.0 * radius, height, width, 0.0, True))
    return merge(parts)


def animal(rng: np.random.Generator, size: tuple[float, float, float], attribute: str, phase: float) -> Mesh:
    """A dog."""
    fur = _pick(rng, HAIR)
    legs = mirrored(
        merge([
            _limb([(x, 0.12, 0.5), (x + s * np.sin(phase) * 0.08, 0.12, 0.0)], [0.07, 0.05], [fur])
            for x, s in ((0.28, 1), (-0.3, -1))
        ]))
    shape = merge([
        legs,
        ellipsoid((0, 0, 0.58), (0.42, 0.19, 0.2), fur, segments=8, rings=5),
        ellipsoid((0.42, 0, 0.82), (0.16, 0.12, 0.14), fur, segments=8, rings=5),
        box((0.56, 0, 0.78), (0.14, 0.1, 0.1), fur),
        _limb([(-0.4, 0, 0.65), (-0.58, 0, 0.85)], [0.04, 0.02], [fur])
    ])
    return fit_to_box(shape, size[1], size[0], size[2])
