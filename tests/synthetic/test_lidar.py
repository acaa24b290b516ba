"""The lidar against distances worked out by hand and the devkit's own test for points in boxes."""
from __future__ import annotations

import numpy as np
import pytest
from nuscenes.utils.data_classes import Box
from nuscenes.utils.geometry_utils import points_in_box
from pyquaternion import Quaternion
from small_world import thing, world

from scene_qformer.synthetic import lidar as module
from scene_qformer.synthetic import meshes, shapes
from scene_qformer.synthetic.lidar import ELEVATIONS, cast_lidar
from scene_qformer.synthetic.scene import Prop

HEIGHT = 1.84  # of the sensor


def cast(scene, seed=0):
    return cast_lidar(scene, scene.frames[0], np.random.default_rng(seed))


@pytest.fixture
def exact(monkeypatch):
    """No noise, nothing lost, cars are blocks."""
    monkeypatch.setattr(module, 'RANGE_NOISE', 0.0)
    monkeypatch.setattr(module, 'DROP_OUT', -1.0)
    monkeypatch.setitem(shapes.OBJECT_SHAPES, 'vehicle.car',
                        lambda rng, size, attribute, phase: meshes.box((0, 0, 0), (1, 1, 1), (0.8, 0.8, 0.8)))


def test_sweep_has_the_layout_of_a_nuscenes_file():
    sweep = cast(world([]))
    assert sweep.points.dtype == np.float32 and sweep.points.shape[1] == 5
    assert sweep.instance_ids.dtype == np.int32 and not sweep.instance_ids.any()
    ring = sweep.points[:, 4].astype(int)
    assert set(ring) <= set(range(32)) and (sweep.points[:, 4] == ring).all()
    assert (sweep.points[:, 3] >= 1).all() and (sweep.points[:, 3] <= 255).all()
    np.testing.assert_allclose(np.degrees(ELEVATIONS[[0, 31]]), [-30.67, 10.67])
    flat = np.hypot(sweep.points[:, 0], sweep.points[:, 1])
    np.testing.assert_allclose(np.arctan2(sweep.points[:, 2], flat), ELEVATIONS[ring], atol=1e-4)


def test_flat_ground_is_hit_at_the_ring_angles(exact):
    sweep = cast(world([]))
    np.testing.assert_allclose(sweep.points[:, 2], -HEIGHT, atol=1e-4)
    lowest = sweep.points[sweep.points[:, 4] == 0]
    np.testing.assert_allclose(np.hypot(lowest[:, 0], lowest[:, 1]), HEIGHT / np.tan(np.radians(30.67)), rtol=1e-4)
    assert len(lowest) == module.STEPS
    assert np.linalg.norm(sweep.points[:, :3], axis=1).max() < module.GROUND_RANGE


def test_a_block_ahead_returns_its_front_face(exact):
    # The front face stands at ego x = 10, i.e. 9.1 m before the sensor; lidar y is forward. Its top is 0.24 m above it.
    sweep = cast(world([thing(5, 12.0, 0.0, (2.0, 4.0, 2.08))]))
    hits = sweep.points[sweep.instance_ids == 5]
    np.testing.assert_allclose(hits[:, 1], 9.1, atol=2e-3)
    assert hits[:, 0].min() > -1.001 and hits[:, 0].max() < 1.001 and hits[:, 0].max() > 0.95
    rings = ELEVATIONS[(9.1 * np.tan(ELEVATIONS) > -HEIGHT) & (9.1 * np.tan(ELEVATIONS) < 0.24)]
    assert len(np.unique(hits[:, 4])) == len(rings)
    columns = 2 * int(np.floor(np.arctan2(1.0, 9.1) / (2 * np.pi / module.STEPS))) + 1
    assert len(hits) == pytest.approx(len(rings) * columns, abs=len(rings))


def test_what_stands_behind_is_hidden(exact):
    far = thing(2, 30.0, 0.0, (2.0, 4.0, 2.0))
    assert (cast(world([far])).instance_ids == 2).sum() > 10
    near = thing(1, 12.0, 0.0, (6.0, 4.0, 3.5))
    both = cast(world([far, near]))
    assert (both.instance_ids == 1).any() and not (both.instance_ids == 2).any()
    wall = Prop('wall', np.array([8.0, 0.0, 1.75]), (9.0, 0.3, 3.5), 0.0, 3)
    assert not cast(world([far], [wall])).instance_ids.any()


@pytest.mark.parametrize('category, size', [('vehicle.car', (1.93, 4.61, 1.71)),
                                            ('human.pedestrian.adult', (0.67, 0.73, 1.77)),
                                            ('movable_object.barrier', (2.53, 0.53, 0.97))])
def test_noisy_points_stay_in_the_devkit_box(category, size):
    objects = [thing(k, 9 * np.cos(k), 9 * np.sin(k), size, 0.7 * k, category) for k in range(1, 7)]
    scene = world(objects)
    sweep = cast(scene)
    lidar2global = scene.frames[0].ego2global @ scene.rig.lidar2ego
    points = (sweep.points[:, :3].astype(np.float64) @ lidar2global[:3, :3].T + lidar2global[:3, 3]).T
    for state in objects:
        box = Box(state.center, state.size, Quaternion(axis=[0, 0, 1], radians=state.yaw))
        own = sweep.instance_ids == state.instance
        assert own.sum() > 5
        assert points_in_box(box, points[:, own], wlh_factor=1.0005).all()


def test_noise_and_drop_outs_are_small_and_repeatable():
    scene = world([thing(1, 12.0, 0.0, (1.93, 4.61, 1.71))])
    one, again, other = cast(scene, 1), cast(scene, 1), cast(scene, 2)
    np.testing.assert_array_equal(one.points, again.points)
    assert len(other.points) != len(one.points)
    ground = one.points[(one.instance_ids == 0) & (one.points[:, 4] == 3)]
    spread = np.linalg.norm(ground[:, :3], axis=1).std()
    assert 0.5 * module.RANGE_NOISE < spread < 2 * module.RANGE_NOISE
    assert 0.9 < len(ground) / module.STEPS < 1.0
