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


@dataclass(eq=False)
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

    def __post_init__(self) -> None:
        path = self.route.path
        # Where its middle goes: (K, 2), vertex by vertex beside the route's path.
        self.way = path.beside(path.s, np.full(len(path.s), self.lateral)) if self.lateral else path.points

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

    def on_way(self, s: np.ndarray) -> np.ndarray:
        """Points (P, 2) of its way at arc lengths (P,) of the path; straight on beyond both ends."""
        path_s, way = self.route.path.s, self.way
        points = np.empty((len(s), 2))
        points[:, 0], points[:, 1] = np.interp(s, path_s, way[:, 0]), np.interp(s, path_s, way[:, 1])
        if s[0] < 0.0:
            points += np.minimum(s, 0.0)[:, None] * ((way[1] - way[0]) / (path_s[1] - path_s[0]))
        if s[-1] > path_s[-1]:
            points += np.maximum(s - path_s[-1], 0.0)[:, None] * ((way[-1] - way[-2]) / (path_s[-1] - path_s[-2]))
        return points

    def pose_at(self, s: float, length: float) -> tuple[np.ndarray, float]:
        """Centre (2,) and yaw of a body of ``length`` whose axles follow the way."""
        reach = 0.3 * length
        rear, front = self.on_way(np.array([s - reach, s + reach]))
        return (rear + front) / 2, float(np.arctan2(front[1] - rear[1], front[0] - rear[0]))

    def limit_at(self, s: float) -> float:
        return float(np.interp(s, self.route.path.s, self.route.speed_limit))

    def footprint(self) -> np.ndarray:
        """Points (P, 2) along its middle line, at most 2 m apart, from rear to front."""
        return self.on_way(np.linspace(self.rear, self.front, int(np.ceil((self.front - self.rear) / 2.0)) + 1))
