"""A moving vehicle: its route through the lanes, and where it is on it."""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .object_catalog import KINDS
from .polyline import Polyline, join
from .road_network import RoadNetwork

LATERAL_ACCELERATION = 2.0  # comfortable in curves, m/s^2
BRAKING = 2.0  # comfortable, m/s^2
HITCH = 0.6  # between a tractor and its trailer, metres


@dataclass(frozen=True)
class Route:
    """A way through the network."""

    path: Polyline  # vertices about 1 m apart
    speed_limit: np.ndarray  # (K,) at the path's vertices, with room to brake before curves, m/s
    connectors: list[tuple[float, float, int]]  # (entry, exit) arc length and lane index of each junction's connector
    crossings: list[tuple[float, float, int]]  # (entry, exit) arc length and index of each crossing


def draw_lanes(network: RoadNetwork, lane: int, rng: np.random.Generator, straight_on: float) -> list[int]:
    """Follow successors from a lane to the end of the streets; ``straight_on`` is the share that goes through."""
    lanes = [lane]
    while network.lanes[lanes[-1]].successors:
        choices = network.lanes[lanes[-1]].successors
        through = [c for c in choices if network.lanes[c].turn in ('through', '')]
        turns = [c for c in choices if c not in through]
        pool = through if through and (not turns or rng.random() < straight_on) else turns
        lanes.append(int(rng.choice(pool)))
    return lanes


def build_route(network: RoadNetwork, lanes: list[int]) -> Route:
    """The path along consecutive lanes with its speed limits, connectors and crossings."""
    parts = [network.lanes[i] for i in lanes]
    path = join([lane.line for lane in parts])
    limit = np.empty(len(path.s))
    connectors, s = [], 0.0
    for lane in parts:
        inside = (path.s >= s - 1e-6) & (path.s <= s + lane.line.length + 1e-6)
        limit[inside] = lane.speed_limit
        if lane.turn:
            connectors.append((s, s + lane.line.length, lane.index))
        s += lane.line.length
    curvature = np.abs(np.gradient(np.unwrap(path.heading(path.s, 1.5)), path.s))
    limit = np.minimum(limit, np.sqrt(LATERAL_ACCELERATION / np.maximum(curvature, 1e-4)))
    for i in range(len(limit) - 2, -1, -1):
        limit[i] = min(limit[i], np.sqrt(limit[i + 1]**2 + 2 * BRAKING * (path.s[i + 1] - path.s[i])))
    crossings = []
    for number, crossing in enumerate(network.crossings):
        on_it = np.flatnonzero(crossing.contains(path.points))
        if len(on_it):
            crossings.append((float(path.s[on_it[0]]) - 0.5, float(path.s[on_it[-1]]) + 0.5, number))
    return Route(path, limit, connectors, crossings)


@dataclass
class Vehicle:
    """A vehicle on a route; ``s`` is the arc length of its middle."""

    kind: str
    size: tuple[float, float, float]
    seed: int
    route: Route
    s: float
    speed: float
    pace: float  # desired speed as a share of the limit
    lateral: float = 0.0  # constant offset to the left of the path, metres
    trailer_size: tuple[float, float, float] | None = None
    trailer_seed: int = 0
    granted: set[int] = field(default_factory=set)  # connectors that it may use

    @property
    def front(self) -> float:
        return self.s + self.size[1] / 2

    @property
    def rear(self) -> float:
        towed = self.trailer_size[1] + HITCH if self.trailer_size else 0.0
        return self.s - self.size[1] / 2 - towed

    @property
    def acceleration(self) -> float:
        return KINDS[self.kind].acceleration

    @property
    def trailer_s(self) -> float:
        assert self.trailer_size is not None
        return self.s - self.size[1] / 2 - HITCH - self.trailer_size[1] / 2

    def pose_at(self, s: float, length: float) -> tuple[np.ndarray, float]:
        """Centre (2,) and yaw of a body of ``length`` whose axles follow the path."""
        reach = 0.3 * length
        axles = self.route.path.beside(np.array([s - reach, s + reach]), np.full(2, self.lateral))
        step = axles[1] - axles[0]
        return axles.mean(axis=0), float(np.arctan2(step[1], step[0]))

    def limit_at(self, s: float) -> float:
        return float(np.interp(s, self.route.path.s, self.route.speed_limit))

    def footprint(self) -> np.ndarray:
        """Points (P, 2) along its middle line, at most 2 m apart, from rear to front."""
        return self.route.path.beside(*self._line_points())

    def _line_points(self) -> tuple[np.ndarray, np.ndarray]:
        count = int(np.ceil((self.front - self.rear) / 2.0)) + 1
        s = np.linspace(self.rear, self.front, count)
        return s, np.full(count, self.lateral)
