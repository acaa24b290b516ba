"""Shapes of all classes: inside of their boxes, filling them, with a front and a rear."""
from __future__ import annotations

import numpy as np
import pytest

from scene_qformer.synthetic.meshes import LAMP
from scene_qformer.synthetic.shapes import OBJECT_SHAPES, POSES, PROP_SHAPES, object_mesh, prop_mesh

SIZES = {'vehicle.car': (1.93, 4.61, 1.71), 'vehicle.truck': (2.51, 6.93, 2.83), 'vehicle.bus.rigid': (2.9, 11.3, 3.47),
         'vehicle.trailer': (2.9, 12.3, 3.89), 'vehicle.construction': (2.83, 6.37, 3.19),
         'movable_object.barrier': (2.53, 0.53, 0.97), 'human.pedestrian.adult': (0.67, 0.73, 1.77)}
PROPS = {'building': (13., 17., 23.), 'tree': (5., 5.3, 7.), 'pole': (0.5, 1.7, 7.3), 'wall': (0.31, 11., 1.9)}


@pytest.mark.parametrize('category', sorted(OBJECT_SHAPES))
@pytest.mark.parametrize('attribute', ['', 'pedestrian.moving', 'cycle.with_rider'])
def test_shapes_touch_all_sides_of_their_box_and_leave_none(category, attribute):
    width, length, height = size = SIZES.get(category, (0.71, 1.93, 1.57))
    half = 0.5 * np.array([length, width, height])
    for seed in range(5):
        mesh = object_mesh(category, attribute, size, seed, phase=1.3 * seed)
        low, high = mesh.bounds
        np.testing.assert_allclose(low, -half, atol=1e-9)
        np.testing.assert_allclose(high, half, atol=1e-9)
        assert np.isfinite(mesh.normals).all() and np.isfinite(mesh.uv).all()
        assert (mesh.colors >= 0).all() and (mesh.colors <= 1.2).all()


@pytest.mark.parametrize('kind', sorted(PROP_SHAPES))
def test_scenery_fits_its_box(kind):
    width, length, height = size = PROPS[kind]
    for seed in range(5):
        low, high = prop_mesh(kind, size, seed).bounds
        np.testing.assert_allclose(high - low, [length, width, height], atol=1e-9)


@pytest.mark.parametrize('category', ['vehicle.car', 'vehicle.truck', 'vehicle.bus.rigid'])
def test_vehicles_have_white_lamps_in_front_and_red_ones_behind(category):
    for seed in range(8):
        mesh = object_mesh(category, '', SIZES[category], seed)
        lamps = mesh.materials == LAMP
        x = mesh.positions[lamps].mean(axis=(1, 2))
        blue, _, red = mesh.colors[lamps].T
        white, tail = blue > 0.7, (red > 0.6) & (blue < 0.1) & (mesh.colors[lamps][:, 1] < 0.1)
        assert white.any() and tail.any()
        assert mesh.positions[lamps][white][..., 0].min() > mesh.positions[lamps][tail][..., 0].max()
        assert len(x) == lamps.sum()


def test_seed_varies_and_repeats():
    one, again, other = (object_mesh('vehicle.car', '', SIZES['vehicle.car'], seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.positions, again.positions)
    np.testing.assert_array_equal(one.colors, again.colors)
    assert one.colors.shape != other.colors.shape or not np.allclose(one.colors, other.colors)


def test_gait_moves_the_legs_of_walking_people_only():
    def legs(attribute: str, phase: float) -> np.ndarray:
        return object_mesh('human.pedestrian.adult', attribute, SIZES['human.pedestrian.adult'], 7, phase).positions

    step = 2 * np.pi / POSES
    assert not np.allclose(legs('pedestrian.moving', step), legs('pedestrian.moving', 3 * step))
    np.testing.assert_array_equal(legs('pedestrian.standing', step), legs('pedestrian.standing', 3 * step))


def test_riders_sit_on_cycles_by_attribute():
    size = (0.61, 1.71, 1.73)
    for category in ('vehicle.bicycle', 'vehicle.motorcycle'):
        ridden, parked = (object_mesh(category, f'cycle.{word}_rider', size, 5) for word in ('with', 'without'))
        assert len(ridden) > len(parked)


def test_unknown_categories_say_what_is_known():
    with pytest.raises(KeyError, match=r'vehicle\.ufo.*vehicle\.car'):
        object_mesh('vehicle.ufo', '', (1., 1., 1.), 0)
    with pytest.raises(KeyError, match=r'lake.*building'):
        prop_mesh('lake', (1., 1., 1.), 0)
