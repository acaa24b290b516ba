import numpy as np
import pytest

from scene_qformer.synthetic.object_catalog import KINDS
from scene_qformer.synthetic.pedestrians import Pedestrian, populate_sidewalks
from scene_qformer.synthetic.polyline import Polyline
from scene_qformer.synthetic.road_builder import build_road_network
from scene_qformer.synthetic.road_layouts import draw_road_plan
from scene_qformer.synthetic.traffic import STEP, TrafficSimulation
from scene_qformer.synthetic.vehicles import Vehicle, build_route, draw_lanes


def simulation(layout: str, seed: int, people: bool = True) -> TrafficSimulation:
    rng = np.random.default_rng(seed)
    network = build_road_network(draw_road_plan(layout, 16.0, rng), 1)
    pedestrians = populate_sidewalks(network, 0.02, rng) if people else []
    return TrafficSimulation(network, pedestrians, 25.0, rng)


def main_lanes(traffic: TrafficSimulation, turn: str = 'through') -> list[int]:
    """The way along the main road up to the first junction and through it."""
    network = traffic.network
    start = next(lane for lane in network.lanes if lane.segment == 0 and traffic._runs_along_main(lane.index))
    connector = next(i for i in start.successors if network.lanes[i].turn == turn)
    return [start.index, connector, network.lanes[connector].successors[0]]


@pytest.mark.parametrize('layout', ['straight', 'crossroads', 'avenue'])
def test_vehicles_stay_on_lanes_and_apart(layout: str):
    traffic = simulation(layout, 5)
    lanes = np.concatenate([lane.line.points for lane in traffic.network.lanes])
    travelled, total = 0.0, 0
    while traffic.time < 6.0:
        before = {id(v): v.s for v in traffic.vehicles}
        traffic.step()
        travelled += sum(v.s - before[id(v)] for v in traffic.vehicles if id(v) in before)
        for vehicle in traffic.vehicles:
            total += 1
            assert 0.0 <= vehicle.speed < 1.2 * vehicle.route.speed_limit.max()
            if vehicle.kind != 'bicycle' and 0 < vehicle.s < vehicle.route.path.length:
                middle = vehicle.on_way(np.array([vehicle.s]))[0]
                assert np.linalg.norm(lanes - middle, axis=1).min() < 1.0
    assert travelled > 0.5 * total * STEP  # on average they do drive


def test_followers_keep_their_distance():
    traffic = simulation('straight', 2, people=False)
    route = build_route(traffic.network, main_lanes(traffic))
    first, second = (Vehicle('car', (1.9, 4.5, 1.6), 1, route, s, 8.0, pace) for s, pace in ((40.0, 0.3), (20.0, 1.0)))
    traffic.vehicles = [traffic.ego, first, second]
    traffic.ego.s = -500.0
    gaps = []
    for _ in range(60):
        traffic.step()
        gaps.append(first.rear - second.front)
    assert min(gaps) > 1.0
    assert second.speed == pytest.approx(first.speed, abs=0.8)  # it has settled behind the slow one


def test_red_light_stops_and_green_lets_go(monkeypatch):
    traffic = simulation('crossroads', 3, people=False)
    route = build_route(traffic.network, main_lanes(traffic))
    entry, exit_, _ = route.connectors[0]
    vehicle = Vehicle('car', (1.9, 4.5, 1.6), 1, route, entry - 40.0, 7.0, 1.0)
    traffic.vehicles = [traffic.ego, vehicle]
    traffic.ego.s = -500.0
    light = {'green': False}
    monkeypatch.setattr('scene_qformer.synthetic.traffic._Signal.green', lambda *_: light['green'])
    for _ in range(60):
        traffic.step()
        assert vehicle.front < entry + 0.5
    assert vehicle.speed < 0.2
    assert entry - vehicle.front < 4.0
    light['green'] = True
    for _ in range(60):
        traffic.step()
    assert vehicle.rear > exit_


def test_conflicting_connectors_are_not_used_together():
    traffic = simulation('crossroads', 4)
    used = set()
    while traffic.time < 14.0:
        traffic.step()
        inside = [(v, c) for v in traffic.vehicles for a, b, c in v.route.connectors
                  if v.front > a + 1.5 and v.rear < b]
        used.update(c for _, c in inside)
        for vehicle, connector in inside:
            for other, other_connector in inside:
                if other_connector in traffic.network.lanes[connector].conflicts and other is not vehicle:
                    gap = np.linalg.norm(vehicle.footprint()[:, None] - other.footprint()[None], axis=-1).min()
                    assert gap > 1.0
    assert len(used) >= 2


def test_vehicles_wait_for_people_on_crossings():
    traffic = simulation('straight', 2, people=False)
    route = build_route(traffic.network, main_lanes(traffic))
    entry, _, number = route.crossings[0]
    crossing = traffic.network.crossings[number]
    standing = Polyline(np.stack([route.path.at(entry + 1.5), route.path.at(entry + 1.5) + [0.0, 5.0]]))
    person = Pedestrian('adult', (0.6, 0.6, 1.7), 1, standing, 1.0, 0.1, crossing=number, gate=0.0, exit=5.0,
                        pause_at=0.0, pause_left=1e9)
    traffic.pedestrians = [person]
    vehicle = Vehicle('car', (1.9, 4.5, 1.6), 1, route, entry - 35.0, 7.0, 1.0)
    traffic.vehicles = [traffic.ego, vehicle]
    traffic.ego.s = -500.0
    assert crossing.contains(person.path.at(person.s))
    for _ in range(50):
        traffic.step()
        assert vehicle.front < entry
    assert vehicle.speed < 0.2


def test_people_do_not_step_in_front_of_vehicles():
    traffic = simulation('straight', 2, people=False)
    route = build_route(traffic.network, main_lanes(traffic))
    entry, _, number = route.crossings[0]
    vehicle = Vehicle('car', (1.9, 4.5, 1.6), 1, route, entry - 10.0, 8.0, 1.0)
    traffic.vehicles = [vehicle]
    assert not traffic._crossing_is_safe(number)
    vehicle.s = entry - 60.0
    assert traffic._crossing_is_safe(number)
    vehicle.s, vehicle.speed = entry + 2.0, 0.0  # stands on it
    assert not traffic._crossing_is_safe(number)


def test_pedestrian_waits_at_the_gate_and_walks_on():
    path = Polyline(np.array([[0.0, 0.0], [20.0, 0.0]]))
    person = Pedestrian('adult', (0.6, 0.7, 1.75), 1, path, 1.4, 2.0, crossing=0, gate=3.0, exit=13.0)
    for _ in range(20):
        person.step(0.25, crossing_is_safe=False)
    assert 2.0 < person.s <= 3.0
    assert person.attribute == 'pedestrian.standing'
    person.step(0.25, crossing_is_safe=True)
    person.step(0.25, crossing_is_safe=False)  # once on it, on they go
    assert person.on_crossing
    assert person.attribute == 'pedestrian.moving'
    assert person.s == pytest.approx(2.7 + 2 * 0.35, abs=0.36)


def test_trailer_follows_its_tractor():
    traffic = simulation('curve', 1, people=False)
    lanes = draw_lanes(traffic.network, main_lanes(traffic)[0], np.random.default_rng(0), 1.0)
    tractor = Vehicle('tractor', (2.5, 6.2, 3.3), 1, build_route(traffic.network, lanes), 60.0, 5.0, 1.0,
                      trailer_size=(2.7, 11.5, 3.8))
    (front, yaw), (back, trailer_yaw) = tractor.pose_at(tractor.s, 6.2), tractor.pose_at(tractor.trailer_s, 11.5)
    assert np.linalg.norm(front - back) == pytest.approx(6.2 / 2 + 0.6 + 11.5 / 2, abs=0.2)
    assert abs(yaw - trailer_yaw) < 0.4
    assert tractor.rear == pytest.approx(60.0 - 3.1 - 0.6 - 11.5)


def test_sizes_stay_near_nuscenes_means():
    rng = np.random.default_rng(0)
    for kind in KINDS.values():
        sizes = np.array([kind.draw_size(rng) for _ in range(300)])
        np.testing.assert_allclose(sizes.mean(axis=0), kind.size, rtol=0.05)
        assert (sizes > 0.2).all()
