"""People who walk along the sidewalks, wait, and cross where and when no vehicle threatens them."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .object_catalog import KINDS
from .polyline import Polyline, join
from .road_network import Kerbside, RoadNetwork
from .tracks import draw_seed

_NEAREST_TRACK = 1.5  # from the kerb to the nearest walking track, metres
_GATE = 0.7  # people wait this far from the kerb, metres


@dataclass
class Pedestrian:
    """One person on a path; ``gate`` and ``exit`` are the arc lengths between which they are on a crossing."""

    kind: str
    size: tuple[float, float, float]
    seed: int
    path: Polyline
    pace: float  # desired speed, m/s
    s: float
    crossing: int | None = None  # index in RoadNetwork.crossings
    gate: float = np.inf
    exit: float = np.inf
    pause_at: float = np.inf  # arc length of a rest
    pause_left: float = 0.0  # seconds
    sitting: bool = False
    speed: float = 0.0
    phase: float = 0.0

    @property
    def on_crossing(self) -> bool:
        return self.gate < self.s < self.exit

    def step(self, dt: float, crossing_is_safe: bool) -> None:
        """Walk on for ``dt`` seconds, unless resting or waiting for the crossing."""
        waits = self.s <= self.gate < self.s + self.pace * dt and not crossing_is_safe
        rests = self.s >= self.pause_at and self.pause_left > 0
        if rests:
            self.pause_left -= dt
        self.speed = 0.0 if waits or rests or self.s + self.pace * dt > self.path.length else self.pace
        self.s += self.speed * dt
        self.phase += self.speed * dt * 2 * np.pi / 1.4  # a double step is about 1.4 m

    @property
    def attribute(self) -> str:
        if self.sitting:
            return 'pedestrian.sitting_lying_down'
        return 'pedestrian.moving' if self.speed > 0.1 else 'pedestrian.standing'


def _draw(rng: np.random.Generator, path: Polyline, s: float, **kwargs) -> Pedestrian:
    kind = 'child' if rng.random() < 0.04 else 'adult'
    return Pedestrian(kind, KINDS[kind].draw_size(rng), draw_seed(rng), path,
                      float(np.clip(rng.normal(1.35, 0.2), 0.9, 1.9)), s, phase=rng.uniform(0.0, 2 * np.pi), **kwargs)


def _walkers(side: Kerbside, density: float, rng: np.random.Generator) -> list[Pedestrian]:
    """People along one sidewalk, up on one half of it and back on the other."""
    people = []
    room = side.sidewalk - _NEAREST_TRACK - 0.5
    s = rng.exponential(1.0 / density)
    while s < side.line.length:
        near, far = _NEAREST_TRACK + room * rng.uniform(0.0, 0.4), _NEAREST_TRACK + room * rng.uniform(0.6, 1.0)
        up, down = side.line.offset(side.outward * near), side.line.offset(side.outward * far).reversed()
        legs = [up, down] if rng.random() < 0.5 else [down, up]
        start = s if legs[0] is up else side.line.length - s
        person = _draw(rng, join(legs), start)
        if rng.random() < 0.22:  # stands about, for a while or all the time
            person.pause_at, person.pause_left = start, rng.choice([rng.uniform(2.0, 15.0), 1e9])
            person.sitting = bool(person.pause_left > 1e6 and rng.random() < 0.2)
        people.append(person)
        s += 1.3 + rng.exponential(1.0 / density)
    return people


def _crossers(network: RoadNetwork, number: int, rng: np.random.Generator) -> list[Pedestrian]:
    crossing = network.crossings[number]
    left = np.array([-np.sin(crossing.heading), np.cos(crossing.heading)])
    along = np.array([np.cos(crossing.heading), np.sin(crossing.heading)])
    people = []
    for lane_offset in rng.permutation([-1.1, -0.4, 0.4, 1.1])[:int(rng.integers(0, 3))]:
        middle = crossing.centre + along * lane_offset
        outside, beyond = rng.uniform(0.0, 2.3), 2.3  # way from where they start to the gate, and after the crossing
        a = middle - left * (crossing.near + _GATE + outside)
        b = middle + left * (crossing.far + _GATE + beyond)
        if rng.random() < 0.5:
            outside, (a, b) = beyond, (b, a)
        path = Polyline(np.stack([a, b])).resampled(1.0)
        width = crossing.near + crossing.far
        person = _draw(rng, path, 0.0, crossing=number, gate=float(outside), exit=float(outside + width + 2 * _GATE))
        person.s = rng.uniform(0.0, max(outside - 0.1, 0.05))
        # Some set out at once, others arrive at the kerb later.
        if rng.random() < 0.5:
            person.pause_at, person.pause_left = person.s, rng.uniform(2.0, 18.0)
        people.append(person)
    return people


def populate_sidewalks(network: RoadNetwork, density: float, rng: np.random.Generator) -> list[Pedestrian]:
    """Everybody on foot.

    Args:
        network (RoadNetwork): The streets.
        density (float): People per metre of sidewalk.
        rng (np.random.Generator): Source of variation.
    """
    people = []
    for side in network.kerbsides:
        if side.line.length > 10.0:
            people += _walkers(side, density, rng)
    for number in range(len(network.crossings)):
        people += _crossers(network, number, rng)
    return people
