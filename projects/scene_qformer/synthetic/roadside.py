"""What stands along the kerbs: parked vehicles, work zones with cones and barriers, bicycles and motorcycles.

Rare classes come round in a shuffled deck, so that along every street each of them is met within some tens of metres.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .object_catalog import KINDS
from .road_network import Kerbside, RoadNetwork
from .tracks import Track, draw_seed, static_track

_DECK = ('work_zone', 'trailer', 'bus', 'motorcycles', 'work_zone', 'truck', 'cones')
_DECK_NO_PARKING = ('barrier_row', 'bicycles', 'cones', 'bicycles')


class _Kerb:
    """Places objects by arc length along one kerb and distance from it (inward: onto the road)."""

    def __init__(self, side: Kerbside, tracks: list[Track], rng: np.random.Generator) -> None:
        self.side, self.tracks, self.rng = side, tracks, rng

    def place(self, kind: str, s: float, inward: float, turn: float = 0.0, attribute: str = '') -> Track:
        side = self.side
        center = side.line.beside(s, -side.outward * inward)
        track = static_track(kind, center, float(side.line.heading(s)) + turn, attribute, self.rng)
        self.tracks.append(track)
        return track

    def park(self, kind: str, s: float, gap: float | None = None) -> float:
        """Park a vehicle with its rear at ``s``; returns where its front is."""
        rng, side = self.rng, self.side
        size = KINDS[kind].draw_size(rng)
        gap = rng.uniform(0.1, 0.3) if gap is None else gap
        middle = s + size[1] / 2
        center = side.line.beside(middle, -side.outward * (gap + size[0] / 2))
        yaw = float(side.line.heading(middle, size[1] / 2)) + rng.normal(0.0, 0.015)
        attribute = 'vehicle.parked' if kind == 'car' or rng.random() < 0.7 else 'vehicle.stopped'
        self.tracks.append(Track(kind, size, draw_seed(rng), center[None], np.array([yaw]), [attribute], np.zeros(1)))
        return s + size[1]


def _cars(kerb: _Kerb, s: float) -> float:
    return kerb.park('car', s) + kerb.rng.uniform(0.7, 2.0)


def _truck(kerb: _Kerb, s: float) -> float:
    return kerb.park('truck', s) + kerb.rng.uniform(1.0, 2.5)


def _bus(kerb: _Kerb, s: float) -> float:
    return kerb.park('bus', s + 1.0) + kerb.rng.uniform(2.0, 4.0)


def _trailer(kerb: _Kerb, s: float) -> float:
    """A parked trailer, with its tractor in three cases of ten."""
    s = kerb.park('trailer', s)
    if kerb.rng.random() < 0.3:
        s = kerb.park('tractor', s + 0.4)
    return s + kerb.rng.uniform(1.0, 3.0)


def _motorcycles(kerb: _Kerb, s: float) -> float:
    """A row of motorcycles, parked askew to the kerb."""
    turn = kerb.rng.uniform(0.8, 1.2) * -kerb.side.outward
    for _ in range(int(kerb.rng.integers(1, 4))):
        kerb.place('motorcycle', s + 1.0, 1.3, turn + kerb.rng.normal(0, 0.05), 'cycle.without_rider')
        s += kerb.rng.uniform(1.5, 2.0)
    return s + 1.5


def _bicycles(kerb: _Kerb, s: float) -> float:
    """Bicycles on the sidewalk, along the kerb or in a row across."""
    row = kerb.rng.random() < 0.5
    for _ in range(int(kerb.rng.integers(1, 4))):
        turn = (np.pi / 2 if row else 0.0) + kerb.rng.normal(0.0, 0.08)
        kerb.place('bicycle', s + 0.9, -1.05 if row else -0.45, turn, 'cycle.without_rider')
        s += kerb.rng.uniform(0.95, 1.3) if row else kerb.rng.uniform(2.1, 3.0)
    return s


def _cone_line(kerb: _Kerb, s: float) -> float:
    for _ in range(int(kerb.rng.integers(3, 6))):
        kerb.place('cone', s, (kerb.side.parking or -1.0) - 0.3 + kerb.rng.normal(0.0, 0.1))
        s += kerb.rng.uniform(1.8, 2.8)
    return s + 1.0


def _barrier_row(kerb: _Kerb, s: float, inward: float = -0.45, count: int | None = None) -> float:
    """Barriers end to end. Their width is their long side, so they face across the road."""
    facing = kerb.side.outward * -np.pi / 2
    for _ in range(int(kerb.rng.integers(3, 7)) if count is None else count):
        track = kerb.place('barrier', s + 1.4, inward + kerb.rng.normal(0.0, 0.04), facing + kerb.rng.normal(0.0, 0.03))
        s += track.size[0] + kerb.rng.uniform(0.15, 0.6) if track.size[0] > 2.4 else 2.8
    return s + 1.0


def _work_zone(kerb: _Kerb, s: float) -> float:
    """A closed piece of the parking strip: tapers of cones, a row of barriers, a construction vehicle, workers."""
    rng, strip = kerb.rng, kerb.side.parking
    for step in range(3):
        kerb.place('cone', s + 1.8 * step, 0.5 + (strip - 0.8) * step / 2)
    inside = s + 6.5
    outer_edge = strip - 0.15
    end = _barrier_row(kerb, inside - 1.0, outer_edge, int(rng.integers(4, 7)))
    machine = kerb.place('construction_vehicle', (inside + end) / 2 + rng.uniform(-1.0, 1.0), 0.6,
                         np.pi * float(rng.random() < 0.3) + rng.normal(0.0, 0.03),
                         'vehicle.stopped' if rng.random() < 0.6 else 'vehicle.parked')
    # Its inner side keeps clear of the barriers; the rest stands on the sidewalk.
    inward = outer_edge - 0.45 - machine.size[0] / 2
    s_machine = (inside + end) / 2
    machine.centers[:] = kerb.side.line.beside(s_machine, -kerb.side.outward * inward)
    for at in (inside + 0.3, end - 1.6):
        if rng.random() < 0.75 and abs(at - s_machine) > machine.size[1] / 2 + 0.7:
            kerb.place('worker', at, rng.uniform(0.6, strip - 1.0), rng.uniform(-np.pi, np.pi),
                       'pedestrian.standing')
    for step in range(3):
        kerb.place('cone', end + 0.6 + 1.8 * step, 0.5 + (strip - 0.8) * (2 - step) / 2)
    return end + 6.5


_ITEMS: dict[str, Callable[[_Kerb, float], float]] = {
    'work_zone': _work_zone,
    'trailer': _trailer,
    'bus': _bus,
    'motorcycles': _motorcycles,
    'truck': _truck,
    'cones': _cone_line,
    'barrier_row': _barrier_row,
    'bicycles': _bicycles,
}
_LENGTHS = {'work_zone': 32.0, 'trailer': 26.0, 'bus': 16.0, 'motorcycles': 9.0, 'truck': 11.0, 'cones': 15.0,
            'barrier_row': 20.0, 'bicycles': 10.0}  # upper bounds, metres


def _furnish_parking(kerb: _Kerb, density: float, deck: list[str]) -> None:
    rng, side = kerb.rng, kerb.side
    s, end = side.clear_start + rng.uniform(0.0, 4.0), side.line.length - side.clear_end
    until_next = rng.uniform(0.0, 14.0)
    while s < end - 5.5:
        if until_next <= 0.0 and s + _LENGTHS[deck[0]] < end:
            item = deck.pop(0)
            deck.append(item)
            s = _ITEMS[item](kerb, s)
            until_next = rng.uniform(8.0, 18.0)
        else:
            before = s
            s = _cars(kerb, s) if rng.random() < density else s + rng.uniform(3.0, 8.0)
            until_next -= s - before


def furnish_roadside(network: RoadNetwork, density: float, rng: np.random.Generator) -> list[Track]:
    """Everything that stands along the kerbs and never moves.

    Args:
        network (RoadNetwork): The streets.
        density (float): Share of the parking places that are taken.
        rng (np.random.Generator): Source of variation.
    """
    tracks: list[Track] = []
    deck, bare_deck = list(rng.permutation(_DECK)), list(rng.permutation(_DECK_NO_PARKING))
    for side in network.kerbsides:
        kerb = _Kerb(side, tracks, rng)
        if side.parking > 0:
            _furnish_parking(kerb, density, deck)
        s = side.clear_start + rng.uniform(2.0, 20.0)
        while s < side.line.length - side.clear_end - 20.0:
            if side.parking > 0:
                s = _bicycles(kerb, s) + rng.uniform(25.0, 45.0)
            else:
                item = bare_deck.pop(0)
                bare_deck.append(item)
                s = _ITEMS[item](kerb, s) + rng.uniform(10.0, 25.0)
    return tracks
