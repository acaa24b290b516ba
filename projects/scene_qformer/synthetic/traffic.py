"""Traffic in motion: vehicles that follow lanes and one another, people on foot, and the ego vehicle among them.

Car following is the intelligent driver model (Treiber, Hennecke, Helbing: Congested traffic states in empirical
observations and microscopic simulations, Physical Review E 62, 2000). A junction is entered only on a green light and
when no conflicting connector is in use, and a crossing only when nobody walks on it.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .object_catalog import EGO_SIZE, KINDS
from .pedestrians import Pedestrian
from .road_layouts import EGO_START, MARGIN_AHEAD
from .road_network import RoadNetwork
from .tracks import Track, draw_seed
from .vehicles import BRAKING, Vehicle, build_route, draw_lanes

STEP = 0.25  # seconds
WARM_UP = 6.0  # seconds before the first key frame
KEYFRAME_INTERVAL = 0.5  # seconds: nuScenes annotates at 2 Hz
_TIME_GAP = 1.3  # to the leader, seconds
_STANDSTILL_GAP = 2.0  # metres
_FORESIGHT = 2.5  # with which vehicles yield to people on crossings, seconds
_SIDE_CLEARANCE = 0.25  # what comes closer than this to the vehicle's way is an obstacle, metres
_ARRIVALS = (85.0, 150.0)  # new vehicles enter at road ends within these distances from the ego vehicle, metres
_AREA = 110.0  # vehicles that start farther than this from where the ego vehicle may go are left out, metres

# Share of each kind among moving vehicles. Rare kinds are more common than on real streets: every scene needs them.
_MIX = {'car': 0.74, 'truck': 0.08, 'bus': 0.04, 'tractor': 0.03, 'motorcycle': 0.05, 'construction_vehicle': 0.01,
        'bicycle': 0.05}


@dataclass(frozen=True)
class _Signal:
    """Two-phase lights of one junction."""

    offset: float
    main_green: float
    side_green: float

    def green(self, main: bool, time: float) -> bool:
        at = (time + self.offset) % (self.main_green + self.side_green)
        # The last 1.5 s of each phase clear the junction.
        start, end = (0.0, self.main_green) if main else (self.main_green, self.main_green + self.side_green)
        return start <= at < end - 1.5


class TrafficSimulation:
    """Moves everybody in steps of `STEP` seconds.

    Args:
        network (RoadNetwork): The streets.
        pedestrians (list[Pedestrian]): Everybody on foot.
        spacing (float): Mean distance between vehicles that share a lane at the start, metres.
        rng (np.random.Generator): Source of variation.
    """

    def __init__(self, network: RoadNetwork, pedestrians: list[Pedestrian], spacing: float,
                 rng: np.random.Generator) -> None:
        self.network, self.pedestrians, self.spacing, self.rng = network, pedestrians, spacing, rng
        self.time = -WARM_UP
        self.signals = [
            _Signal(rng.uniform(0, 40), rng.uniform(20, 35), rng.uniform(6, 9)) for _ in range(network.num_junctions)
        ]
        self.reserved: dict[int, Vehicle] = {}
        self.ego = self._place_ego()
        self.vehicles = [self.ego]
        self.entries = [lane for lane in network.lanes if not lane.turn and not any(
            lane.index in other.successors for other in network.lanes)]
        for lane in network.lanes:
            if not lane.turn:
                self._fill_lane(lane.index)

    # ----- who is there at the start, and who comes later

    def _place_ego(self) -> Vehicle:
        starts = [lane for lane in self.network.lanes if lane.segment == 0 and self._runs_along_main(lane.index)]
        lane = starts[int(self.rng.integers(len(starts)))]
        route = build_route(self.network, draw_lanes(self.network, lane.index, self.rng, straight_on=0.7))
        limit = float(np.interp(EGO_START, route.path.s, route.speed_limit))
        return Vehicle('car', EGO_SIZE, 0, route, EGO_START - 0.6 * limit * WARM_UP, 0.6 * limit,
                       self.rng.uniform(0.75, 1.0))

    def _runs_along_main(self, index: int) -> bool:
        lane, road = self.network.lanes[index], self.network.roads[0]
        return bool(np.linalg.norm(lane.line.points[0] - road.line.points[0]) < road.section.half_width)

    def _draw_vehicle(self, lane: int, s: float) -> Vehicle:
        rng = self.rng
        kind = str(rng.choice(list(_MIX), p=np.array(list(_MIX.values())) / sum(_MIX.values())))
        straight_on = 1.0 if kind in ('tractor', 'bus') else 0.75
        route = build_route(self.network, draw_lanes(self.network, lane, rng, straight_on))
        trailer = None
        if kind == 'tractor':
            bends = any(self.network.lanes[c].turn != 'through' for _, _, c in route.connectors)
            if bends:
                kind = 'truck'
            else:
                trailer = KINDS['trailer'].draw_size(rng)
        size = KINDS[kind].draw_size(rng)
        lateral = rng.normal(0.0, 0.08)
        if kind == 'bicycle':  # rides just beyond the edge of the lane, in the cycle strip
            hand = self.network.roads[0].hand
            lateral = -hand * (self.network.lanes[lane].width / 2 + 0.4)
        pace = KINDS[kind].pace * rng.uniform(0.85, 1.1)
        vehicle = Vehicle(kind, size, draw_seed(rng), route, s, 0.0, pace, lateral, trailer,
                          draw_seed(rng) if trailer else 0)
        vehicle.speed = 0.8 * pace * vehicle.limit_at(s)
        return vehicle

    def _fill_lane(self, lane: int) -> None:
        line, path = self.network.lanes[lane].line, self.ego.route.path
        ego_way = path.at(np.linspace(EGO_START, path.length - MARGIN_AHEAD, 12))
        s = self.rng.uniform(0.0, self.spacing)
        while s < line.length - 14.0:
            if np.linalg.norm(ego_way - line.at(s), axis=1).min() > _AREA:
                s += 10.0
                continue
            vehicle = self._draw_vehicle(lane, s)
            s += vehicle.s - vehicle.rear + 3.0
            vehicle.s = s
            if vehicle.front < line.length - 5.0 and self._is_clear(vehicle, 4.0):
                self.vehicles.append(vehicle)
            s = vehicle.front + 5.0 + self.rng.exponential(self.spacing)

    def _is_clear(self, vehicle: Vehicle, gap: float) -> bool:
        own = vehicle.footprint()
        for other in self.vehicles:
            if abs(other.lateral - vehicle.lateral) < 1.0:
                apart = np.linalg.norm(own[:, None] - other.footprint()[None], axis=-1).min()
                if apart < gap + (vehicle.size[0] + other.size[0]) / 4:
                    return False
        return True

    def _let_in(self, ego_position: np.ndarray) -> None:
        """New vehicles at the road ends that the ego vehicle cannot see."""
        for lane in self.entries:
            arrives = _ARRIVALS[0] < np.linalg.norm(lane.line.points[0] - ego_position) < _ARRIVALS[1]
            if arrives and self.rng.random() < 8.0 / (self.spacing + 8.0) * STEP:
                vehicle = self._draw_vehicle(lane.index, 4.0)
                if self._is_clear(vehicle, 8.0):
                    self.vehicles.append(vehicle)

    # ----- one step

    def step(self) -> None:
        """Advance everybody by `STEP` seconds."""
        self._let_in(self.ego.pose_at(self.ego.s, EGO_SIZE[1])[0])
        for person in self.pedestrians:
            person.step(STEP, person.crossing is None or self._crossing_is_safe(person.crossing))
        crossers = self._crossers()
        footprints = [vehicle.footprint() for vehicle in self.vehicles]
        owner = np.repeat(np.arange(len(self.vehicles)), [len(f) for f in footprints])
        points = np.concatenate(footprints)
        self._grant_junctions(points, owner)
        accelerations = [
            self._acceleration(i, vehicle, points, owner, crossers) for i, vehicle in enumerate(self.vehicles)
        ]
        for vehicle, acceleration in zip(self.vehicles, accelerations):
            speed = max(vehicle.speed + acceleration * STEP, 0.0)
            vehicle.s += 0.5 * (vehicle.speed + speed) * STEP
            vehicle.speed = speed
        self.vehicles = [v for v in self.vehicles if v is self.ego or v.rear < v.route.path.length]
        self.time += STEP

    def _crossing_is_safe(self, crossing: int) -> bool:
        for vehicle in self.vehicles:
            for entry, exit_, number in vehicle.route.crossings:
                if number == crossing and vehicle.rear < exit_:
                    way = entry - vehicle.front
                    if way < 1.0 or (vehicle.speed > 0.5 and way < vehicle.speed**2 / (2 * BRAKING) + 6.0):
                        return False
        return True

    def _crossers(self) -> dict[int, np.ndarray]:
        """For each crossing in use, where people on it are and will be within `_FORESIGHT` seconds, (M, 2)."""
        places: dict[int, list[np.ndarray]] = {}
        for person in self.pedestrians:
            if person.crossing is not None and person.on_crossing:
                ahead = person.s + person.speed * np.linspace(0.0, _FORESIGHT, 4)
                places.setdefault(person.crossing, []).append(person.path.at(np.minimum(ahead, person.exit)))
        return {crossing: np.concatenate(points) for crossing, points in places.items()}

    def _has_room(self, vehicle: Vehicle, exit_: float, i: int, points: np.ndarray, owner: np.ndarray) -> bool:
        """Whether no standing vehicle keeps this one from clearing a junction that ends at ``exit_``."""
        path_s = vehicle.route.path.s
        way = vehicle.way[slice(*np.searchsorted(path_s, [exit_ - 3.0, exit_ + vehicle.front - vehicle.rear + 3.0]))]
        close = np.flatnonzero(owner != i)
        close = close[np.abs(points[close] - way[0]).max(axis=1) < 30.0] if len(way) else close[:0]
        hit = np.linalg.norm(points[close][:, None] - way[None], axis=-1).min(axis=1, initial=np.inf) < 1.8
        return all(self.vehicles[o].speed > 1.0 for o in set(owner[close][hit].tolist()))

    def _grant_junctions(self, points: np.ndarray, owner: np.ndarray) -> None:
        self.reserved = {
            connector: v for connector, v in self.reserved.items() if v in self.vehicles and
            any(v.rear < exit_ for _, exit_, number in v.route.connectors if number == connector)}
        requests = []
        for order, vehicle in enumerate(self.vehicles):
            for entry, exit_, connector in vehicle.route.connectors:
                way = entry - vehicle.front
                decides = way < vehicle.speed**2 / (2 * BRAKING) + 6.0
                if decides and connector not in vehicle.granted and vehicle.rear < exit_:
                    requests.append((way, order, connector, exit_))
        for _, order, connector, exit_ in sorted(requests):
            lane, vehicle = self.network.lanes[connector], self.vehicles[order]
            assert lane.junction is not None
            if not any(self._uses(c, connector, vehicle) for c in lane.conflicts) and \
                    self.signals[lane.junction].green(lane.main, self.time) and \
                    self._has_room(vehicle, exit_, order, points, owner):
                vehicle.granted.add(connector)
                self.reserved[connector] = vehicle

    def _uses(self, connector: int, other: int, asking: Vehicle) -> bool:
        """Whether a vehicle other than the asking one has still to clear ``other`` on ``connector``."""
        vehicle = self.reserved.get(connector)
        if vehicle is None or vehicle is asking:
            return False
        entry = next(start for start, _, lane in vehicle.route.connectors if lane == connector)
        return vehicle.rear < entry + self.network.lanes[connector].conflicts[other]

    def _acceleration(self, i: int, vehicle: Vehicle, points: np.ndarray, owner: np.ndarray,
                      crossers: dict[int, np.ndarray]) -> float:
        front = vehicle.front
        wanted = max(vehicle.pace * min(vehicle.limit_at(front), vehicle.limit_at(vehicle.s)), 0.5)
        free = 1.0 - (vehicle.speed / wanted)**4
        gap, approach = self._leader(i, vehicle, points, owner)
        for stop in self._stops(vehicle, crossers):
            if stop - front < gap:
                gap, approach = stop - front + _STANDSTILL_GAP - 0.4, vehicle.speed
        desired = _STANDSTILL_GAP + max(
            0.0, vehicle.speed * _TIME_GAP + vehicle.speed * approach / (2 * np.sqrt(vehicle.acceleration * BRAKING)))
        return float(np.clip(vehicle.acceleration * (free - (desired / max(gap, 0.1))**2), -7.0, vehicle.acceleration))

    def _leader(self, i: int, vehicle: Vehicle, points: np.ndarray, owner: np.ndarray) -> tuple[float, float]:
        """Gap to the nearest vehicle on the way, and the speed at which it closes."""
        look = 14.0 + 3.5 * vehicle.speed
        path_s = vehicle.route.path.s
        ahead = slice(*np.searchsorted(path_s, [vehicle.s, vehicle.front + look]))
        way_s, way = path_s[ahead], vehicle.way[ahead]
        if len(way) < 2:
            return np.inf, 0.0
        near = (owner != i) & (np.abs(points - way[len(way) // 2]).max(axis=1) < look)
        if not near.any():
            return np.inf, 0.0
        candidates, owners = points[near], owner[near]
        distances = ((candidates[:, None] - way[None])**2).sum(axis=-1)
        nearest = distances.argmin(axis=1)
        widths = np.array([self.vehicles[o].size[0] for o in owners])
        clearance = (vehicle.size[0] + widths) / 2 + _SIDE_CLEARANCE
        blocked = (distances[np.arange(len(owners)), nearest] < clearance**2) & (nearest > 0)
        gaps = way_s[nearest] - vehicle.front
        blocked &= gaps > -vehicle.size[1] / 2
        if not blocked.any():
            return np.inf, 0.0
        first = int(np.argmin(np.where(blocked, gaps, np.inf)))
        leader = self.vehicles[owners[first]]
        at = max(int(nearest[first]), 1)
        turn = leader.pose_at(leader.s, leader.size[1])[1] - np.arctan2(*(way[at] - way[at - 1])[::-1])
        return float(gaps[first]) - 0.5, vehicle.speed - leader.speed * max(float(np.cos(turn)), 0.0)

    def _stops(self, vehicle: Vehicle, crossers: dict[int, np.ndarray]) -> list[float]:
        """Arc lengths that the vehicle's front must not pass now."""
        reach = vehicle.speed**2 / (2 * 4.0)  # what hard braking still allows
        stops = [entry for entry, _, connector in vehicle.route.connectors
                 if connector not in vehicle.granted and vehicle.front < entry + 1.0]
        for entry, exit_, number in vehicle.route.crossings:
            if number in crossers and vehicle.front + reach < entry < vehicle.front + 40.0:
                way = vehicle.way[slice(*np.searchsorted(vehicle.route.path.s, [entry, exit_]))]
                apart = np.linalg.norm(crossers[number][:, None] - way[None], axis=-1).min()
                if apart < vehicle.size[0] / 2 + 1.3:
                    stops.append(entry - 0.8)
        return stops

    # ----- the record

    def record(self, num_frames: int) -> tuple[np.ndarray, np.ndarray, list[Track]]:
        """Run to the last key frame.

        Returns:
            tuple: The ego vehicle's centres (T, 2) and yaws (T,), and the tracks of all others.
        """
        while self.time < -1e-6:
            self.step()
        bodies: dict[tuple[int, bool], _Recorder] = {}
        people = [_Recorder(p.kind, p.size, p.seed, num_frames) for p in self.pedestrians]
        ego = _Recorder('car', EGO_SIZE, 0, num_frames)
        alive: list[Vehicle] = []  # keeps every vehicle's id unique
        for frame in range(num_frames):
            for vehicle in self.vehicles:
                attribute = 'vehicle.moving' if vehicle.speed > 0.2 else 'vehicle.stopped'
                if vehicle.kind in ('motorcycle', 'bicycle'):
                    attribute = 'cycle.with_rider'
                alive.append(vehicle)
                key = (id(vehicle), False)
                recorder = ego if vehicle is self.ego else bodies.setdefault(
                    key, _Recorder(vehicle.kind, vehicle.size, vehicle.seed, num_frames))
                recorder.put(frame, *vehicle.pose_at(vehicle.s, vehicle.size[1]), attribute, vehicle.s / 0.33)
                if vehicle.trailer_size:
                    trailer = bodies.setdefault((id(vehicle), True), _Recorder('trailer', vehicle.trailer_size,
                                                                               vehicle.trailer_seed, num_frames))
                    trailer.put(frame, *vehicle.pose_at(vehicle.trailer_s, vehicle.trailer_size[1]), attribute,
                                vehicle.s / 0.33)
            for person, recorder in zip(self.pedestrians, people):
                if person.s < person.path.length:
                    recorder.put(frame, person.path.at(person.s), float(person.path.heading(person.s)),
                                 person.attribute, person.phase)
            if frame + 1 < num_frames:
                for _ in range(round(KEYFRAME_INTERVAL / STEP)):
                    self.step()
        return ego.centers, ego.yaws, [r.track() for r in [*bodies.values(), *people]]


class _Recorder:

    def __init__(self, kind: str, size: tuple[float, float, float], seed: int, num_frames: int) -> None:
        self.kind, self.size, self.seed = kind, size, seed
        self.centers = np.full((num_frames, 2), np.nan)
        self.yaws, self.phases = np.zeros(num_frames), np.zeros(num_frames)
        self.attributes = [''] * num_frames

    def put(self, frame: int, center: np.ndarray, yaw: float, attribute: str, phase: float) -> None:
        self.centers[frame], self.yaws[frame] = center, yaw
        self.attributes[frame], self.phases[frame] = attribute, phase

    def track(self) -> Track:
        return Track(self.kind, self.size, self.seed, self.centers, self.yaws, self.attributes, self.phases)
