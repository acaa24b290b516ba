"""From a `RoadPlan` to lanes, connectors, kerbs and crossings."""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from shapely.geometry import LineString

from .polyline import Polyline
from .road_layouts import RoadPlan
from .road_network import (
    CROSSING_SETBACK,
    CROSSING_WIDTH,
    STOP_LINE_SETBACK,
    Crossing,
    Kerbside,
    Lane,
    Road,
    RoadNetwork,
    Segment,
)

PARKING_CLEARANCE = 9.0  # no parking this close to a stop line or junction, metres
CONNECTOR_CLEARANCE = 3.0  # connectors closer than this conflict, metres
TURN_SPEED = 5.5  # m/s
_SPACING = 1.0  # of lane vertices, metres


@dataclass
class _Arm:
    """One road end at a junction."""

    main: bool
    incoming: list[Lane] = field(default_factory=list)  # from the centre line to the kerb
    outgoing: list[Lane] = field(default_factory=list)


def _side_roads(plan: RoadPlan, hand: int) -> list[list[Road]]:
    """The side roads of every junction; one that would come near another road is left out."""
    clearance = plan.main_section.half_width + plan.side_section.half_width + 2 * plan.side_section.sidewalk
    placed = [LineString(plan.main_line.points)]
    result = []
    for junction in plan.junctions:
        centre, heading = plan.main_line.at(junction.position), float(plan.main_line.heading(junction.position))
        roads = []
        for wanted, normal in ((junction.left, 1), (junction.right, -1)):
            if not wanted:
                continue
            direction = heading + normal * np.pi / 2 + junction.angle
            steps = np.arange(0.0, plan.side_length + 1.0, 1.0)
            line = Polyline(centre + steps[:, None] * np.array([np.cos(direction), np.sin(direction)]))
            away = LineString(line.points[int(clearance + 15):])
            if all(away.distance(other) > clearance for other in placed):
                roads.append(Road(line, plan.side_section, hand))
        placed += [LineString(road.line.points) for road in roads]
        result.append(roads)
    return result


def _connector_line(start: Lane, end: Lane) -> Polyline:
    """A cubic Bezier curve that leaves one lane and enters another along their directions."""
    p0, p3 = start.line.points[-1], end.line.points[0]
    h0, h3 = start.line.heading(start.line.length), end.line.heading(0.0)
    reach = 0.5 * np.linalg.norm(p3 - p0)
    p1, p2 = p0 + reach * np.array([np.cos(h0), np.sin(h0)]), p3 - reach * np.array([np.cos(h3), np.sin(h3)])
    t = np.linspace(0.0, 1.0, 25)[:, None]
    curve = (1 - t)**3 * p0 + 3 * (1 - t)**2 * t * p1 + 3 * (1 - t) * t**2 * p2 + t**3 * p3
    return Polyline(curve).resampled(_SPACING)


class _Builder:

    def __init__(self, plan: RoadPlan, hand: int) -> None:
        self.plan, self.hand = plan, hand
        self.main = Road(plan.main_line, plan.main_section, hand)
        self.side_roads = _side_roads(plan, hand)
        self.network = RoadNetwork([self.main], [], [], [], [], [], len(plan.junctions))
        self.arms: list[list[_Arm]] = [[] for _ in plan.junctions]

    def build(self) -> RoadNetwork:
        main_gap = self.plan.side_section.half_width + CROSSING_SETBACK + CROSSING_WIDTH + STOP_LINE_SETBACK
        side_gap = self.plan.main_section.half_width + CROSSING_SETBACK + CROSSING_WIDTH + STOP_LINE_SETBACK
        start, start_junction = 0.0, None
        for number, (junction, sides) in enumerate(zip(self.plan.junctions, self.side_roads)):
            if not sides:
                continue
            self._add_segment(0, start, junction.position - main_gap, start_junction, number)
            start, start_junction = junction.position + main_gap, number
            for road in sides:
                self.network.roads.append(road)
                self._add_segment(len(self.network.roads) - 1, side_gap, road.line.length, number, None)
        self._add_segment(0, start, self.main.line.length, start_junction, None)
        for number in range(len(self.arms)):
            self._connect(number)
        for position in self.plan.mid_crossings:
            self._add_crossing(self.main, position)
        return self.network

    def _add_segment(self, road_index: int, start: float, end: float, before: int | None, after: int | None) -> None:
        road = self.network.roads[road_index]
        segment = len(self.network.segments)
        self.network.segments.append(Segment(road_index, start, end, before, after))
        line = road.line.slice(start, end)
        arms = {junction: _Arm(main=road_index == 0) for junction in (before, after) if junction is not None}
        for along, count in ((True, road.section.lanes_along), (False, road.section.lanes_against)):
            entered, left = (before, after) if along else (after, before)
            for i in range(count):
                centre = line.offset(road.lateral((i + 0.5) * road.section.lane_width, along))
                lane = Lane(
                    len(self.network.lanes), (centre if along else centre.reversed()).resampled(_SPACING),
                    road.section.lane_width, self.plan.speed_limit, i, segment, left, road_index == 0)
                self.network.lanes.append(lane)
                if entered is not None:
                    arms[entered].outgoing.append(lane)
                if left is not None:
                    arms[left].incoming.append(lane)
                    self._add_stop_line(lane)
            self._add_kerbside(road, line, along, segment, before, after)
        for junction, arm in arms.items():
            self.arms[junction].append(arm)
            inside = STOP_LINE_SETBACK + CROSSING_WIDTH / 2
            self._add_crossing(road, start - inside if junction == before else end + inside)

    def _add_stop_line(self, lane: Lane) -> None:
        end = np.full(2, lane.line.length)
        self.network.stop_lines.append(lane.line.beside(end, np.array([-0.5, 0.5]) * lane.width))

    def _add_kerbside(self, road: Road, line: Polyline, along: bool, segment: int, before: int | None,
                      after: int | None) -> None:
        section = road.section
        kerb = line.offset(road.lateral(section.kerb(along), along))
        parking = section.parking_along if along else section.parking_against
        forward = along or section.lanes_against == 0  # beside a one-way road all traffic runs along it
        outward = int(np.sign(road.lateral(1.0, along))) * (1 if forward else -1)
        first, last = (before, after) if forward else (after, before)
        self.network.kerbsides.append(
            Kerbside(kerb if forward else kerb.reversed(), outward, parking, section.cycle_width, section.sidewalk,
                     segment, PARKING_CLEARANCE if first is not None else 0.0,
                     PARKING_CLEARANCE if last is not None else 0.0))

    def _add_crossing(self, road: Road, position: float) -> None:
        left, right = road.section.kerb(self.hand < 0), road.section.kerb(self.hand > 0)
        self.network.crossings.append(
            Crossing(road.line.at(position), float(road.line.heading(position)), CROSSING_WIDTH / 2, right, left))

    def _connect(self, number: int) -> None:
        connectors = []
        for arm in self.arms[number]:
            for other in self.arms[number]:
                if other is not arm:
                    connectors += self._connect_arms(number, arm, other)
        sources = {successor: lane.index for lane in self.network.lanes for successor in lane.successors}
        for i, a in enumerate(connectors):
            for b in connectors[i + 1:]:
                if sources[a.index] != sources[b.index]:
                    close = np.linalg.norm(a.line.points[:, None] - b.line.points[None], axis=-1) < CONNECTOR_CLEARANCE
                    if close.any():
                        a.conflicts[b.index] = float(a.line.s[close.any(axis=1)].max())
                        b.conflicts[a.index] = float(b.line.s[close.any(axis=0)].max())

    def _connect_arms(self, number: int, arm: _Arm, other: _Arm) -> list[Lane]:
        if not arm.incoming or not other.outgoing:
            return []
        turn_angle = other.outgoing[0].line.heading(0.0) - arm.incoming[0].line.heading(arm.incoming[0].line.length)
        turn_angle = (turn_angle + np.pi) % (2 * np.pi) - np.pi
        if abs(turn_angle) < 0.7:
            turn = 'through'
            pairs = [(lane, other.outgoing[min(i, len(other.outgoing) - 1)]) for i, lane in enumerate(arm.incoming)]
        else:
            turn = 'left' if turn_angle > 0 else 'right'
            # Near turns keep to the kerb, far ones to the centre.
            side = -1 if (turn == 'right') == (self.hand > 0) else 0
            pairs = [(arm.incoming[side], other.outgoing[side])]
        connectors = []
        for start, end in pairs:
            connector = Lane(
                len(self.network.lanes), _connector_line(start, end), start.width,
                start.speed_limit if turn == 'through' else TURN_SPEED, junction=number, main=arm.main, turn=turn,
                successors=[end.index])
            start.successors.append(connector.index)
            self.network.lanes.append(connector)
            connectors.append(connector)
        return connectors


def build_road_network(plan: RoadPlan, hand: int) -> RoadNetwork:
    """Lanes, connectors, kerbs, crossings and stop lines of a plan.

    Args:
        plan (RoadPlan): What `draw_road_plan` drew.
        hand (int): +1 right-hand traffic, -1 left-hand traffic.
    """
    return _Builder(plan, hand).build()
