"""Recipes for the streets of a scene: how a main road bends, how wide it is, and what joins it where."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .polyline import Polyline
from .road_network import CrossSection

EGO_START = 100.0  # arc length on the main road where the ego vehicle starts, metres
MARGIN_AHEAD = 95.0  # road beyond the farthest place that the ego vehicle can reach, metres
SIDE_ROAD_LENGTH = 130.0  # metres
LAYOUTS = ('straight', 'curve', 't_junction', 'crossroads', 'avenue', 'one_way')


@dataclass(frozen=True)
class JunctionPlan:
    """Where side roads join the main road."""

    position: float  # arc length on the main road
    left: bool
    right: bool
    angle: float  # of the side road's axis against the main road's normal, radians


@dataclass(frozen=True)
class RoadPlan:
    """All that a layout decides; `build_road_network` makes lanes of it."""

    layout: str
    main_line: Polyline
    main_section: CrossSection
    side_section: CrossSection
    junctions: list[JunctionPlan]
    mid_crossings: list[float]  # arc lengths on the main road
    speed_limit: float  # m/s
    side_length: float


def _main_line(length: float, straight_at: list[float], bend: float, rng: np.random.Generator) -> Polyline:
    """A smooth line of ``length`` metres whose bends keep clear of junctions.

    ``bend`` is the largest turn, radians; each bend's curvature is a raised cosine, so there are no kinks.
    """
    s = np.arange(0.0, length + 1.0, 1.0)
    curvature = np.zeros(len(s))
    edges = [0.0, *straight_at, length]
    for start, end in zip(edges[:-1], edges[1:]):
        start, end = start + 35.0, end - 35.0
        if end - start < 50.0:
            continue
        extent = min(end - start, 130.0)
        centre = np.clip(EGO_START + 40.0, start + extent / 2, end - extent / 2)
        turn = bend * rng.uniform(0.6, 1.0) * rng.choice([-1.0, 1.0])
        window = np.abs(s - centre) < extent / 2
        curvature[window] += turn / extent * (1.0 + np.cos(2 * np.pi * (s[window] - centre) / extent))
    heading = rng.uniform(-np.pi, np.pi) + np.cumsum(curvature)
    steps = np.stack([np.cos(heading), np.sin(heading)], axis=1)
    return Polyline(np.concatenate([np.zeros((1, 2)), np.cumsum(steps[:-1], axis=0)]))


def draw_road_plan(layout: str, duration: float, rng: np.random.Generator) -> RoadPlan:
    """Draw the roads of a scene.

    Args:
        layout (str): One of `LAYOUTS`.
        duration (float): How long the ego vehicle drives, seconds; the roads are long enough for it.
        rng (np.random.Generator): Source of variation.

    Raises:
        ValueError: If the layout is unknown.
    """
    if layout not in LAYOUTS:
        raise ValueError(f'Unknown road layout {layout!r}; expected one of {LAYOUTS}.')
    speed_limit = rng.uniform(10.0, 13.0) if layout == 'avenue' else rng.uniform(8.0, 11.0)
    travel = max(speed_limit * duration, 40.0)
    length = EGO_START + travel + MARGIN_AHEAD
    along, against = {'avenue': (int(rng.integers(2, 4)), 2), 'one_way': (2, 0)}.get(layout, (1, 1))
    if layout == 'crossroads' and rng.random() < 0.5:
        along = against = 2

    def section(lanes_along: int, lanes_against: int, parking_share: float) -> CrossSection:
        # Work zones and parked buses need a strip, so one side has it at least.
        has_parking = (rng.random(2) < parking_share) | (rng.permutation(2) == 0)
        parking_along, parking_against = np.where(has_parking, rng.uniform(2.5, 2.7), 0.0)
        lane_width, cycle_width, sidewalk = np.round(rng.uniform([3.4, 1.2, 3.2], [3.7, 1.5, 4.5]), 2).tolist()
        return CrossSection(lanes_along, lanes_against, lane_width, cycle_width, float(parking_along),
                            float(parking_against), sidewalk)

    main, side = section(along, against, 0.85), section(1, 1, 0.4)

    first = EGO_START + {'straight': rng.uniform(95, 130), 'curve': rng.uniform(110, 140)}.get(
        layout, rng.uniform(35, 70))
    behind = EGO_START - rng.uniform(48, 58)
    positions = [behind] if layout in ('straight', 'one_way') and rng.random() < 0.5 else []
    while first < length - 70.0:
        positions.append(first)
        first += rng.uniform(105, 150)
    junctions = []
    for position in positions:
        both = layout == 'crossroads' or (layout != 't_junction' and rng.random() < 0.35)
        left = both or rng.random() < 0.5
        junctions.append(JunctionPlan(position, left, both or not left, rng.uniform(-0.12, 0.12)))

    bend = {'curve': rng.uniform(0.7, 1.2), 'straight': 0.06}.get(layout, 0.25)
    edges = np.array([EGO_START - 20.0, *[j.position for j in junctions], length - MARGIN_AHEAD])
    gaps = np.diff(np.sort(edges))
    mid_crossings = [float(np.sort(edges)[i] + gaps[i] / 2) for i in range(len(gaps))
                     if gaps[i] > 75.0 and rng.random() < 0.6]
    return RoadPlan(
        layout=layout,
        main_line=_main_line(length, [j.position for j in junctions], bend, rng),
        main_section=main,
        side_section=side,
        junctions=junctions,
        mid_crossings=mid_crossings,
        speed_limit=speed_limit,
        side_length=max(SIDE_ROAD_LENGTH, travel + 50.0))
