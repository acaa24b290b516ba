from collections import Counter

import numpy as np
import pytest
import shapely
from nuscenes.eval.detection.utils import category_to_detection_name
from shapely.geometry import LineString, Point, Polygon

from scene_qformer.synthetic import world as world_module
from scene_qformer.synthetic.object_catalog import EGO_REAR_AXLE, EGO_SIZE
from scene_qformer.synthetic.scene import World
from scene_qformer.synthetic.scene_plan import draw_scene_plan, draw_weather
from scene_qformer.synthetic.tracks import box_corners, overlapping
from scene_qformer.synthetic.world import CLASS_RANGES, MIN_CLASS_SHARE, build_world, class_shares

NAMES = ('scene-0103', 'scene-0916', 'scene-0061', 'scene-0001')  # mini val first
NUM_FRAMES = 40


@pytest.fixture(scope='module', params=NAMES)
def world(request) -> World:
    return build_world(request.param, NUM_FRAMES, seed=0)


def test_every_class_is_within_the_metrics_range(world: World):
    shares = class_shares(world)
    assert shares.keys() == CLASS_RANGES.keys()
    assert min(shares.values()) >= MIN_CLASS_SHARE


def test_no_two_boxes_overlap(world: World):
    for frame in world.frames:
        states = frame.objects
        yaw = np.arctan2(frame.ego2global[1, 0], frame.ego2global[0, 0])
        middle = frame.ego2global[:2, 3] + EGO_REAR_AXLE * np.array([np.cos(yaw), np.sin(yaw)])
        corners = box_corners(
            np.array([middle, *[s.center[:2] for s in states]]), np.array([EGO_SIZE, *[s.size for s in states]]),
            np.array([yaw, *[s.yaw for s in states]]))
        first, second = np.triu_indices(len(corners), 1)
        assert not overlapping(corners[first], corners[second]).any()


def test_objects_stand_on_the_ground_within_range(world: World):
    for frame in world.frames:
        for state in frame.objects:
            assert state.center[2] == pytest.approx(state.size[2] / 2)
    count = [len(frame.objects) for frame in world.frames]
    assert 20 < np.mean(count) < 110
    far = [np.linalg.norm(s.center[:2] - f.ego2global[:2, 3]) for f in world.frames for s in f.objects]
    assert 60 < np.quantile(far, 0.99) < 75


def test_velocities_are_the_differences_of_positions(world: World):
    places: dict[int, dict[int, np.ndarray]] = {}
    for i, frame in enumerate(world.frames):
        for state in frame.objects:
            places.setdefault(state.instance, {})[i] = state.center[:2]
    for i, frame in enumerate(world.frames):
        for state in frame.objects:
            track = places[state.instance]
            assert sorted(track) == list(range(min(track), max(track) + 1))  # one unbroken run
            before, after = max(i - 1, min(track)), min(i + 1, max(track))
            np.testing.assert_allclose(state.velocity, (track[after] - track[before]) / ((after - before) * 0.5))


def test_attributes_agree_with_motion(world: World):
    for frame in world.frames:
        for state in frame.objects:
            speed, kind = np.linalg.norm(state.velocity), category_to_detection_name(state.category)
            if kind in ('traffic_cone', 'barrier'):
                assert state.attribute == ''
                assert speed == 0
            if state.attribute in ('vehicle.parked', 'cycle.without_rider', 'pedestrian.sitting_lying_down'):
                assert speed == 0
            if state.attribute == 'vehicle.stopped':
                assert speed < 1.5
            if speed > 1.5:  # who moves faces forwards
                assert state.attribute in ('vehicle.moving', 'cycle.with_rider', 'pedestrian.moving')
                heading = np.arctan2(state.velocity[1], state.velocity[0])
                assert np.cos(heading - state.yaw) > 0.8
            assert speed < 16


def test_what_an_instance_is_does_not_change(world: World):
    identity: dict[int, tuple] = {}
    for frame in world.frames:
        seen = [state.instance for state in frame.objects]
        assert len(set(seen)) == len(seen)
        assert min(seen) > 0
        for state in frame.objects:
            assert identity.setdefault(state.instance, (state.category, state.size, state.seed)) == (
                state.category, state.size, state.seed)


def test_ego_drives_on_the_road_at_2_hz(world: World):
    drivable = Polygon(world.vector_map.drivable_areas[0])
    times = [frame.timestamp for frame in world.frames]
    assert set(np.diff(times)) == {500_000}
    at = np.array([frame.ego2global[:3, 3] for frame in world.frames])
    assert (at[:, 2] == 0).all()
    assert shapely.contains_xy(drivable, at[:, 0], at[:, 1]).all()
    speed = np.linalg.norm(np.diff(at, axis=0), axis=1) / 0.5
    assert speed.max() < 14
    assert np.abs(np.diff(speed)).max() / 0.5 < 8  # m/s^2
    for frame in world.frames:
        np.testing.assert_allclose(frame.ego2global[:3, :3] @ frame.ego2global[:3, :3].T, np.eye(3), atol=1e-12)
        assert frame.ego2global[2, 2] > np.cos(np.radians(1.0))


def test_vehicles_are_on_the_road_and_people_walk_beside_it(world: World):
    drivable = Polygon(world.vector_map.drivable_areas[0])
    walking = Counter()
    for frame in world.frames[::5]:
        for state in frame.objects:
            on_road = drivable.contains(Point(state.center[:2]))
            if state.attribute == 'vehicle.moving' and state.category == 'vehicle.car':
                assert on_road
            if state.category == 'human.pedestrian.adult':
                walking[on_road] += 1
    assert walking[False] > walking[True]


def test_scenery_keeps_off_the_road(world: World):
    drivable, paved = Polygon(world.vector_map.drivable_areas[0]), Polygon(world.vector_map.sidewalks[0])
    kinds = Counter(prop.kind for prop in world.props)
    assert kinds['building'] > 10
    assert kinds['tree'] + kinds['pole'] > 10
    for prop in world.props:
        assert prop.center[2] == pytest.approx(prop.size[2] / 2)
        assert not drivable.contains(Point(prop.center[:2]))
        if prop.kind == 'building':
            foot = box_corners(prop.center[:2], np.array(prop.size), np.array(prop.yaw))
            assert not Polygon(foot).intersects(paved)


def test_crossings_are_free_of_parked_things(world: World):
    crossings = [Polygon(quad) for quad in world.vector_map.crossings]
    for state in world.frames[0].objects:
        if state.attribute in ('vehicle.parked', 'cycle.without_rider') or state.category.startswith('movable'):
            foot = Polygon(box_corners(state.center[:2], np.array(state.size), np.array(state.yaw)))
            assert not any(foot.intersects(crossing) for crossing in crossings)


def test_barriers_stand_end_to_end():
    """nuScenes' barriers are wide, not long: their width lies along the row."""
    barriers = [s for s in build_world('scene-0103', 2, 0).frames[0].objects if s.category == 'movable_object.barrier']
    assert len(barriers) > 2
    for state in barriers:
        assert state.size[0] > 3 * state.size[1]
        nearest = min((b for b in barriers if b is not state), key=lambda b: np.linalg.norm(b.center - state.center))
        apart = nearest.center[:2] - state.center[:2]
        if np.linalg.norm(apart) < 3.5:
            along_width = abs(apart @ [-np.sin(state.yaw), np.cos(state.yaw)]) / np.linalg.norm(apart)
            assert along_width > 0.9


def test_coordinates_are_positive(world: World):
    assert min(area.min() for area in world.vector_map.sidewalks) > 10
    assert world.rig.cameras[0].name == 'CAM_FRONT'


def key(world: World) -> tuple:
    return (tuple((f.timestamp, f.ego2global.tobytes(), tuple((s.instance, s.center.tobytes(), s.yaw, s.seed, s.phase)
                                                              for s in f.objects)) for f in world.frames),
            tuple(p.center.tobytes() for p in world.props), world.weather, world.rig.lidar2ego.tobytes(),
            b''.join(line.tobytes() for line in world.vector_map.boundaries))


def test_same_seed_same_world():
    np.random.seed(1)
    first = build_world('scene-0553', 3, seed=5)
    np.random.seed(2)  # global random state has no say
    assert key(first) == key(build_world('scene-0553', 3, seed=5))
    assert key(first) != key(build_world('scene-0553', 3, seed=6))
    assert key(first) != key(build_world('scene-0655', 3, seed=5))


def test_hand_of_traffic_follows_the_place():
    boston, singapore = (draw_scene_plan(name, np.random.default_rng(0)) for name in ('scene-0103', 'scene-0916'))
    assert (boston.location, boston.hand) == ('boston-seaport', 1)
    assert (singapore.location, singapore.hand) == ('singapore-queenstown', -1)
    for name, side in (('scene-0103', -1), ('scene-0916', 1)):  # the ego vehicle right or left of the centre line
        world = build_world(name, 2, 0)
        ego = world.frames[0].ego2global
        ends = [line for line in world.vector_map.centre_dividers if LineString(line).distance(Point(ego[:2, 3])) < 12]
        assert ends
        nearest = min(ends, key=lambda line: LineString(line).distance(Point(ego[:2, 3])))
        foot = LineString(nearest).interpolate(LineString(nearest).project(Point(ego[:2, 3])))
        offset = ego[:2, 3] - [foot.x, foot.y]
        assert np.sign(offset @ ego[:2, 1]) == side  # ego's y axis points left


def test_conditions_differ():
    weather = {c: draw_weather(c, np.random.default_rng(3)) for c in ('clear', 'cloudy', 'rain', 'dusk', 'night')}
    assert weather['night'].brightness < weather['dusk'].brightness < weather['cloudy'].brightness
    assert weather['rain'].wetness > 0.4
    assert weather['clear'].cloudiness < 0.35 < weather['cloudy'].cloudiness
    with pytest.raises(ValueError, match=r"'hail'.*'clear'"):
        draw_weather('hail', np.random.default_rng(3))


def test_bad_requests(monkeypatch):
    with pytest.raises(ValueError, match='num_frames=0'):
        build_world('scene-0061', 0)
    monkeypatch.setattr(world_module, 'MIN_CLASS_SHARE', 1.01)
    monkeypatch.setattr(world_module, '_ATTEMPTS', 2)
    with pytest.raises(RuntimeError, match=r"'scene-0061'.*seed 4.*2 attempts.*another seed"):
        build_world('scene-0061', 1, seed=4)
