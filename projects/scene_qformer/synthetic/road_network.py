"""Roads, lanes and junctions of a scene, and the graph of lanes that traffic follows.

A road is a centre line with a cross-section. Right-hand traffic, seen along the road (left-hand traffic mirrors it)::

    sidewalk | parking | cycle | lanes against || lanes along | cycle | parking | sidewalk
                                               ||
     kerb ---^                  centre line ---^^              kerb ---^
     lateral  + (left) <------------------------0-------------------> - (right)

Where two roads meet, a junction cuts both into arms. Every arm ends in a stop line and a crossing; connector lanes lead
through the junction from each incoming lane to the lanes it may leave by.
"""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .polyline import Polyline

CROSSING_SETBACK = 2.5  # from the kerb line of the crossed road to the near edge of the crossing, metres
CROSSING_WIDTH = 3.5  # metres
STOP_LINE_SETBACK = 1.2  # from the crossing to the stop line, metres


@dataclass(frozen=True)
class CrossSection:
    """The layout of a road across its direction; widths in metres."""

    lanes_along: int
    lanes_against: int  # 0: a one-way road
    lane_width: float
    cycle_width: float  # strip between the outermost lane and parking or kerb
    parking_along: float  # 0: no parking on this side
    parking_against: float
    sidewalk: float

    def kerb(self, along: bool) -> float:
        """Distance from the centre line to the kerb beside the lanes along (or against) the road."""
        lanes, parking = (
            (self.lanes_along, self.parking_along) if along else (self.lanes_against, self.parking_against))
        return lanes * self.lane_width + self.cycle_width + parking

    @property
    def half_width(self) -> float:
        return max(self.kerb(True), self.kerb(False))


@dataclass(frozen=True)
class Road:
    """A centre line with a cross-section; ``hand`` is +1 for right-hand and -1 for left-hand traffic."""

    line: Polyline
    section: CrossSection
    hand: int

    def lateral(self, distance: float, along: bool) -> float:
        """Signed offset (left positive) of a distance from the centre line on the side of the lanes along/against."""
        return -self.hand * distance if along else self.hand * distance


@dataclass
class Lane:
    """A lane of a road, or a connector through a junction."""

    index: int  # in RoadNetwork.lanes
    line: Polyline  # its centre, in the direction of traffic
    width: float
    speed_limit: float  # m/s
    from_centre: int = 0  # 0: the lane beside the centre line
    segment: int | None = None  # None for connectors
    junction: int | None = None  # for connectors, the one they cross; for road lanes, the one they lead to
    main: bool = True  # connectors: enters from the main road
    turn: str = ''  # connectors: 'through', 'left', 'right'
    successors: list[int] = field(default_factory=list)
    # Connectors that come too close, with the arc length on this one after which it is clear of the other.
    conflicts: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Kerbside:
    """The edge of a segment on one side: where things are parked and people walk."""

    line: Polyline  # the kerb, in the direction of the traffic beside it
    outward: int  # +1: the sidewalk is to the left of ``line``
    parking: float  # width of the parking strip, 0 for none
    cycle: float  # width of the strip between parking and lane
    sidewalk: float
    segment: int
    clear_start: float  # parking begins this far after the start ...
    clear_end: float  # ... and stops this far before the end (junctions ahead)


@dataclass(frozen=True)
class Segment:
    """A stretch of road without junctions."""

    road: int
    start: float  # arc length on the road's centre line
    end: float
    junction_at_start: int | None
    junction_at_end: int | None


@dataclass(frozen=True)
class Crossing:
    """A zebra crossing over one arm of a junction, or over a road between junctions."""

    centre: np.ndarray  # (2,)
    heading: float  # direction of the road that is crossed
    half_width: float  # half its extent along the road
    near: float  # extent to the right of the centre, metres (> 0)
    far: float  # extent to the left of the centre

    def quad(self) -> np.ndarray:
        """Corners (4, 2); the first edge runs along the road, as the stripes do."""
        along = np.array([np.cos(self.heading), np.sin(self.heading)]) * self.half_width
        left = np.array([-np.sin(self.heading), np.cos(self.heading)])
        right_edge, left_edge = self.centre - left * self.near, self.centre + left * self.far
        return np.stack([right_edge - along, right_edge + along, left_edge + along, left_edge - along])

    def contains(self, points: np.ndarray, margin: float = 0.0, side_margin: float = 0.0) -> np.ndarray:
        """Which points (..., 2) lie on the crossing, grown by the margins along and across the road."""
        offset = points - self.centre
        along = offset @ np.array([np.cos(self.heading), np.sin(self.heading)])
        left = offset @ np.array([-np.sin(self.heading), np.cos(self.heading)])
        return ((np.abs(along) <= self.half_width + margin) & (left >= -self.near - side_margin) &
                (left <= self.far + side_margin))


@dataclass
class RoadNetwork:
    """Everything that is fixed about the streets of a scene."""

    roads: list[Road]
    segments: list[Segment]
    lanes: list[Lane]
    kerbsides: list[Kerbside]
    crossings: list[Crossing]
    stop_lines: list[np.ndarray]  # (2, 2) each
    num_junctions: int

    def translated(self, shift: np.ndarray) -> RoadNetwork:
        """The same network moved by ``shift`` (2,)."""

        def moved(line: Polyline) -> Polyline:
            return Polyline(line.points + shift)

        return RoadNetwork(
            roads=[Road(moved(road.line), road.section, road.hand) for road in self.roads],
            segments=self.segments,
            lanes=[Lane(**{**vars(lane), 'line': moved(lane.line)}) for lane in self.lanes],
            kerbsides=[Kerbside(**{**vars(side), 'line': moved(side.line)}) for side in self.kerbsides],
            crossings=[Crossing(**{**vars(c), 'centre': c.centre + shift}) for c in self.crossings],
            stop_lines=[line + shift for line in self.stop_lines],
            num_junctions=self.num_junctions)
