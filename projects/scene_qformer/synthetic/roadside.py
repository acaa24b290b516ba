"""What stands along the kerbs: parked vehicles, work zones with cones and barriers, bicycles and motorcycles.

Every scene must hold all ten detection classes near the ego vehicle: the metric scores an absent class 0, and mini_val
has two scenes. So the features that bring rare classes are placed first, where the ego vehicle comes by, until each
class is within the metric's range in a share of the frames; parked cars fill what is left. Rare classes are therefore
more common than in nuScenes.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .object_catalog import KINDS
from .road_network import Crossing, Kerbside, RoadNetwork
from .tracks import Track, draw_seed, static_track

_EDGE = -0.45  # where things stand on the sidewalk's edge: metres from the kerb, away from the road


@dataclass
class _Kerb:
    """One kerb with the free stretches of its parking strip and of its sidewalk's edge."""

    side: Kerbside
    rng: np.random.Generator
    tracks: list[Track] = field(default_factory=list)

    def __post_init__(self) -> None:
        start, end = self.side.clear_start, self.side.line.length - self.side.clear_end
        whole = [(start, end)] if end - start > 6.0 else []
        self.free = {'strip': whole if self.side.parking > 0 else [], 'edge': list(whole)}

    def place(self, kind: str, s: float, inward: float, turn: float = 0.0, attribute: str = '') -> Track:
        """Put an object ``inward`` metres from the kerb onto the road."""
        side = self.side
        center = side.line.beside(s, -side.outward * inward)
        track = static_track(kind, center, float(side.line.heading(s)) + turn, attribute, self.rng)
        self.tracks.append(track)
        return track

    def park(self, kind: str, s: float) -> float:
        """Park a vehicle with its rear at ``s``; returns where its front is."""
        rng, side = self.rng, self.side
        size = KINDS[kind].draw_size(rng)
        middle = s + size[1] / 2
        center = side.line.beside(middle, -side.outward * (rng.uniform(0.1, 0.3) + size[0] / 2))
        yaw = float(side.line.heading(middle, size[1] / 2)) + rng.normal(0.0, 0.015)
        attribute = 'vehicle.parked' if kind == 'car' or rng.random() < 0.7 else 'vehicle.stopped'
        self.tracks.append(Track(kind, size, draw_seed(rng), center[None], np.array([yaw]), [attribute], np.zeros(1)))
        return s + size[1]

    def keep_clear(self, crossing: Crossing) -> None:
        """Take the stretches that a crossing reaches, so that nothing stands on it or hides who waits there."""
        on_it = self.side.line.s[crossing.contains(self.side.line.points, margin=1.0, side_margin=2.0)]
        if len(on_it):
            for layer in self.free:
                self.take(layer, float(on_it[0]) - 2.0, float(on_it[-1]) + 2.0)

    def take(self, layer: str, start: float, end: float) -> None:
        """Mark a stretch as used."""
        self.free[layer] = [piece for a, b in self.free[layer] for piece in ((a, min(b, start)), (max(a, end), b))
                            if piece[1] - piece[0] > 1.0]


def _truck(kerb: _Kerb, s: float) -> None:
    kerb.park('truck', s + 0.8)


def _bus(kerb: _Kerb, s: float) -> None:
    kerb.park('bus', s + 1.5)


def _trailer(kerb: _Kerb, s: float) -> None:
    kerb.park('trailer', s + 0.8)


def _motorcycles(kerb: _Kerb, s: float) -> None:
    """Motorcycles side by side, askew to the kerb."""
    turn = kerb.rng.uniform(0.8, 1.2) * -kerb.side.outward
    for i in range(int(kerb.rng.integers(1, 3))):
        kerb.place('motorcycle', s + 1.2 + 1.7 * i, 1.3, turn + kerb.rng.normal(0, 0.05), 'cycle.without_rider')


def _sidewalk_motorcycle(kerb: _Kerb, s: float) -> None:
    kerb.place('motorcycle', s + 1.5, _EDGE - 0.05, kerb.rng.normal(0.0, 0.05), 'cycle.without_rider')


def _bicycles(kerb: _Kerb, s: float) -> None:
    """Bicycles on the sidewalk, along the kerb or in a row across."""
    row = kerb.rng.random() < 0.5
    for i in range(int(kerb.rng.integers(1, 3))):
        turn = (np.pi / 2 if row else 0.0) + kerb.rng.normal(0.0, 0.08)
        kerb.place('bicycle', s + 1.0 + (1.1 if row else 2.4) * i, -1.05 if row else _EDGE, turn, 'cycle.without_rider')


def _cones(kerb: _Kerb, s: float) -> None:
    for i in range(int(kerb.rng.integers(2, 5))):
        inward = kerb.side.parking - 0.3 if kerb.side.parking else _EDGE
        kerb.place('cone', s + 0.5 + 2.2 * i + kerb.rng.uniform(-0.4, 0.4), inward + kerb.rng.normal(0.0, 0.1))


def _barrier_row(kerb: _Kerb, s: float, inward: float = _EDGE, count: int | None = None) -> None:
    """Barriers end to end, one every 3.1 m. Their width is their long side, so they face across the road."""
    facing = kerb.side.outward * -np.pi / 2
    for i in range(int(kerb.rng.integers(2, 6)) if count is None else count):
        askew, turn = kerb.rng.normal(0.0, 0.03, 2)
        kerb.place('barrier', s + 1.6 + 3.1 * i, inward + askew, facing + turn)


def _work_zone(kerb: _Kerb, s: float) -> None:
    """A closed piece of the parking strip: tapers of cones, a row of barriers, a construction vehicle, workers."""
    rng, strip = kerb.rng, kerb.side.parking
    line = strip - 0.15  # of the barriers
    count = int(rng.integers(3, 5))
    inside, end = s + 5.0, s + 5.0 + 3.1 * count
    for step in range(2):
        inward = 0.5 + (line - 0.5) * step / 2
        kerb.place('cone', s + 0.8 + 2.0 * step, inward)
        kerb.place('cone', end + 4.0 - 2.0 * step, inward)
    _barrier_row(kerb, inside, line, count)
    turn = np.pi * float(rng.random() < 0.3) + rng.normal(0.0, 0.02)
    middle = (inside + end) / 2 + rng.uniform(-0.5, 0.5)
    machine = kerb.place('construction_vehicle', middle, 0.0, turn,
                         'vehicle.stopped' if rng.random() < 0.6 else 'vehicle.parked')
    # Its inner side keeps clear of the barriers; the rest may stand on the sidewalk.
    machine.centers[0] = kerb.side.line.beside(middle, -kerb.side.outward * (line - 0.5 - machine.size[0] / 2))
    for at in (inside + 0.4, end - 0.4):
        if rng.random() < 0.6 and abs(at - middle) > machine.size[1] / 2 + 0.6:
            kerb.place('worker', at, rng.uniform(0.3, line - 1.0), rng.uniform(-np.pi, np.pi), 'pedestrian.standing')


@dataclass(frozen=True)
class _Feature:
    """Something that takes a stretch of kerb."""

    build: Callable[[_Kerb, float], None]
    layer: str  # 'strip' or 'edge'
    length: float  # upper bound, metres


_FEATURES = {
    'work_zone': _Feature(_work_zone, 'strip', 22.5),
    'trailer': _Feature(_trailer, 'strip', 16.0),
    'bus': _Feature(_bus, 'strip', 16.0),
    'truck': _Feature(_truck, 'strip', 10.5),
    'motorcycles': _Feature(_motorcycles, 'strip', 5.5),
    'sidewalk_motorcycle': _Feature(_sidewalk_motorcycle, 'edge', 3.0),
    'cones': _Feature(_cones, 'strip', 8.5),
    'bicycles': _Feature(_bicycles, 'edge', 5.5),
    'barrier_row': _Feature(_barrier_row, 'edge', 17.0),
}


@dataclass(frozen=True)
class _Need:
    """A kind that must be near the ego vehicle: within ``reach`` metres in a share of frames from ``share``."""

    kind: str
    features: tuple[str, ...]
    reach: float
    share: tuple[float, float]


# The reach is a little less than the nuScenes metric's range for the class.
_NEEDS = (
    _Need('construction_vehicle', ('work_zone',), 45.0, (0.5, 0.8)),
    _Need('trailer', ('trailer',), 44.0, (0.5, 0.8)),
    _Need('bus', ('bus',), 44.0, (0.5, 0.8)),
    _Need('truck', ('truck',), 45.0, (0.6, 0.95)),
    _Need('motorcycle', ('motorcycles', 'sidewalk_motorcycle'), 36.0, (0.45, 0.7)),
    _Need('bicycle', ('bicycles',), 36.0, (0.5, 0.8)),
    _Need('barrier', ('work_zone', 'barrier_row', 'barrier_row'), 25.0, (0.5, 0.75)),
    _Need('cone', ('cones', 'work_zone'), 25.0, (0.5, 0.75)),
)
_MOST_FEATURES_PER_NEED = 6
_CANDIDATE_STEP = 4.0  # metres


def _near_share(centers: np.ndarray, ego: np.ndarray, reach: float) -> float:
    """Share of frames in which any of the places (M, 2) is within reach of the ego vehicle (T, 2)."""
    if not len(centers):
        return 0.0
    return float((np.linalg.norm(centers[:, None] - ego[None], axis=-1).min(axis=0) < reach).mean())


def _place_feature(kerbs: list[_Kerb], name: str, ego: np.ndarray, reach: float, rng: np.random.Generator) -> bool:
    """Place a feature at random, the likelier the longer the ego vehicle is near; False if there is no room."""
    feature = _FEATURES[name]
    candidates = []
    for number, kerb in enumerate(kerbs):
        for start, end in kerb.free[feature.layer]:
            candidates += [(number, s) for s in np.arange(start, end - feature.length, _CANDIDATE_STEP)]
    if not candidates:
        return False
    middles = np.concatenate([
        kerb.side.line.at(np.array([s for k, s in candidates if k == number]) + feature.length / 2)
        for number, kerb in enumerate(kerbs) if any(k == number for k, _ in candidates)])
    near = (np.linalg.norm(middles[:, None] - ego[None], axis=-1) < reach).mean(axis=1)
    if near.max() == 0:
        return False
    weights = near**3
    number, s = candidates[int(rng.choice(len(candidates), p=weights / weights.sum()))]
    feature.build(kerbs[number], s)
    kerbs[number].take(feature.layer, s, s + feature.length)
    return True


def _fill_with_cars(kerb: _Kerb, density: float) -> None:
    for start, end in list(kerb.free['strip']):
        s = start + kerb.rng.uniform(0.0, 3.0)
        while s < end - 6.2:
            s = kerb.park('car', s) + kerb.rng.uniform(0.7, 2.0) if kerb.rng.random() < density else \
                s + kerb.rng.uniform(4.0, 9.0)


def furnish_roadside(network: RoadNetwork, ego: np.ndarray, density: float, rng: np.random.Generator) -> list[Track]:
    """Everything that stands along the kerbs and never moves.

    Args:
        network (RoadNetwork): The streets.
        ego (np.ndarray): (T, 2) places of the ego vehicle at the key frames.
        density (float): Share of the parking places that are taken.
        rng (np.random.Generator): Source of variation.
    """
    kerbs = [_Kerb(side, rng) for side in network.kerbsides]
    for kerb in kerbs:
        for crossing in network.crossings:
            kerb.keep_clear(crossing)
    for need in _NEEDS:
        wanted = rng.uniform(*need.share)
        for _ in range(_MOST_FEATURES_PER_NEED):
            there = [track.centers[0] for kerb in kerbs for track in kerb.tracks if track.kind == need.kind]
            if _near_share(np.array(there), ego, need.reach) >= wanted:
                break
            _place_feature(kerbs, str(rng.choice(need.features)), ego, need.reach, rng)
    for kerb in kerbs:
        _fill_with_cars(kerb, density)
    return [track for kerb in kerbs for track in kerb.tracks]
