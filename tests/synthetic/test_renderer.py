"""Rendered pixels against projections worked out by hand and by the devkit."""
from __future__ import annotations

import numpy as np
import pytest
from nuscenes.utils.data_classes import Box
from pyquaternion import Quaternion
from small_world import camera, rectangle, thing, world

from scene_qformer.synthetic import meshes, shapes
from scene_qformer.synthetic.projection_check import check_view, outside_distance, projected_hull
from scene_qformer.synthetic.renderer import SceneRenderer
from scene_qformer.synthetic.scene import Prop, VectorMap

BLOCK = (2.04, 4.0, 2.24)  # width, length, height


@pytest.fixture
def blocks(monkeypatch):
    """Every car is a plain block, which fills its box."""
    monkeypatch.setitem(shapes.OBJECT_SHAPES, 'vehicle.car',
                        lambda rng, size, attribute, phase: meshes.box((0, 0, 0), (1, 1, 1), (0.8, 0.1, 0.1)))


def render(scene, cam=None, seed=0):
    return SceneRenderer(scene).render(scene.frames[0], cam or camera(), np.random.default_rng(seed))


def boxes_in_camera(scene, cam):
    to_camera = np.linalg.inv(scene.frames[0].ego2global @ cam.cam2ego)
    result = []
    for state in scene.frames[0].objects:
        box = Box(state.center, state.size, Quaternion(axis=[0, 0, 1], radians=state.yaw), name=state.category)
        box.rotate(Quaternion(matrix=to_camera[:3, :3], atol=1e-6, rtol=1e-6))
        box.translate(to_camera[:3, 3])
        result.append((state.instance, box))
    return result


def test_a_block_covers_the_pixels_worked_out_by_hand(blocks):
    # The front face is 10 m away: u = 40 -+ 50 * 1.02 / 10 = 34.9 .. 45.1; v = 30 + 50 (1.44 - 2.24) / 10 = 26.0 and
    # 30 + 50 * 1.44 / 10 = 37.2. Pixel centres inside: columns 35 .. 44, rows 26 .. 36. Other faces look away.
    view = render(world([thing(9, 12.0, 0.0, BLOCK)]))
    expected = np.zeros((60, 80), np.int32)
    expected[26:37, 35:45] = 9
    np.testing.assert_array_equal(view.instance_ids, expected)
    assert view.visible_pixels == view.amodal_pixels == {9: 110}
    assert view.image.shape == (60, 80, 3) and view.image.dtype == np.uint8
    red = view.image[26:37, 35:45].astype(int)
    assert (red[..., 2] > red[..., 0] + 30).all()  # BGR


def test_the_ego_pose_moves_the_camera(blocks):
    ego2global = np.eye(4)
    ego2global[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]  # looks along global y
    ego2global[:3, 3] = 700, 900, 0
    vector_map = VectorMap(drivable_areas=[rectangle(690, 710, 890, 950)])
    scene = world([thing(9, 700.0, 912.0, BLOCK, yaw=np.pi / 2)], ego2global=ego2global, vector_map=vector_map)
    assert render(scene).visible_pixels == {9: 110}


def test_the_nearer_object_hides_the_farther_one(blocks):
    near, far = thing(1, 12.0, 0.0, BLOCK), thing(2, 22.0, 2.5, BLOCK)
    alone = render(world([far]))
    for order in ([near, far], [far, near]):
        both = render(world(order))
        assert both.visible_pixels[1] == both.amodal_pixels[1] == 110
        assert both.amodal_pixels[2] == alone.visible_pixels[2]
        assert 0 < both.visible_pixels[2] < both.amodal_pixels[2]
        assert both.visible_pixels[2] == np.sum(both.instance_ids == 2)


def test_scenery_hides_objects_but_has_no_instance(blocks):
    wall = Prop('building', np.array([8.0, 0.0, 2.5]), (9.0, 1.0, 5.0), 0.0, 4)
    view = render(world([thing(1, 22.0, 0.0, BLOCK)], [wall]))
    assert view.visible_pixels == {1: 0} and view.amodal_pixels[1] > 0
    assert not view.instance_ids.any()


def test_interpenetrating_blocks_are_resolved_pixel_by_pixel(blocks):
    # Two crossed boards: each is in front on one side, which no order of painting can show.
    board = (0.2, 6.0, 2.0)
    view = render(world([thing(1, 12.0, 0.0, board, yaw=0.9), thing(2, 12.0, 0.0, board, yaw=-0.9)]))
    left, right = view.instance_ids[:, :40], view.instance_ids[:, 40:]
    # Seen from behind (yaw 0.9) a board's rear end is near and to the right (y < 0), so 1 wins there.
    assert (right == 1).sum() > 3 * (right == 2).sum()
    assert (left == 2).sum() > 3 * (left == 1).sum()


def test_objects_that_cross_the_camera_plane_are_cut(blocks):
    cam = camera()
    scene = world([thing(1, 0.5, 2.0, BLOCK), thing(2, -9.0, 0.0, BLOCK)])  # right beside; behind
    view = render(scene, cam)
    checks = check_view(view, boxes_in_camera(scene, cam), cam.cam2img)
    assert [instance for instance in np.unique(view.instance_ids) if instance] == [1]
    assert checks[0].pixels > 200 and checks[0].worst < 1
    assert 2 not in view.amodal_pixels


CATEGORIES = {'vehicle.car': (1.93, 4.61, 1.71), 'vehicle.truck': (2.51, 6.93, 2.83),
              'vehicle.bus.rigid': (2.9, 11.3, 3.47),
              'vehicle.trailer': (2.9, 12.3, 3.89), 'vehicle.construction': (2.83, 6.37, 3.19),
              'vehicle.bicycle': (0.61, 1.71, 1.73), 'vehicle.motorcycle': (0.77, 2.11, 1.49),
              'human.pedestrian.adult': (0.67, 0.73, 1.77), 'movable_object.trafficcone': (0.41, 0.43, 1.07),
              'movable_object.barrier': (2.53, 0.53, 0.97)}


@pytest.mark.parametrize('category', sorted(CATEGORIES))
def test_every_class_stays_inside_its_devkit_projection_and_reaches_its_edges(category):
    size = CATEGORIES[category]
    cam = camera(width=331, height=223, focal=211.0, center=(163.3, 97.7), position=(1.7, 0.3, 1.51))
    rng = np.random.default_rng(11)
    for trial in range(3):
        distance = max(size) * 1.6 + 3
        scene = world([thing(7, distance, rng.uniform(-1, 1), size, rng.uniform(-np.pi, np.pi), category,
                             'cycle.with_rider', seed=trial)])
        renderer = SceneRenderer(scene)
        view = renderer.render(scene.frames[0], cam, np.random.default_rng(0))
        boxes = boxes_in_camera(scene, cam)
        check, = check_view(view, boxes, cam.cam2img, min_pixels=20)
        assert check.worst < 0.75  # a pixel's centre is inside, and lies 0.71 px from its corner
        rows, columns = np.nonzero(view.instance_ids)
        hull = projected_hull(boxes[0][1], cam.cam2img)
        shown = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        # The far side of the top and the near one of the bottom may be empty: the shape is no block.
        slack = 0.36 * np.tile(hull.max(axis=0) - hull.min(axis=0), 2) + 1.5
        assert (np.abs(shown - np.concatenate([hull.min(axis=0), hull.max(axis=0)])) < slack).all()
        assert check.fill is not None and check.fill > 0.2


def test_depth_is_perspective_correct(blocks):
    # A long wall seen at a flat angle: its surface y = 1 is hit by the ray of column j at x = 50 / (40 - j - 0.5).
    scene = world([thing(1, 13.0, 2.02, (2.04, 24.0, 3.0))])
    renderer = SceneRenderer(scene)
    view = renderer.render(scene.frames[0], camera(), np.random.default_rng(0))
    inv_depth = next(iter(renderer._buffers.values())).inv_depth
    row = 29
    columns = np.arange(2, 37)
    expected = (40 - columns - 0.5) / 50 / 1.0
    inside = (1 / expected > 1.01) & (1 / expected < 24.9)
    assert inside.sum() > 20 and (view.instance_ids[row, columns[inside]] == 1).all()
    np.testing.assert_allclose(inv_depth[row, columns[inside]], expected[inside], rtol=1e-5)


def test_paint_lies_where_the_map_says():
    # A stop line 10 m ahead of a camera 1.44 m up: v = 300 + 500 * 1.44 / 10 = 372; a yellow line at u = 400.
    vector_map = VectorMap(drivable_areas=[rectangle(-40, 60, -7, 7)], stop_lines=[np.array([[10., -5], [10, 5]])],
                           centre_dividers=[np.array([[2., 0.0], [60, 0.0]])])
    cam = camera(width=800, height=600, focal=500.0, center=(400., 300.))
    image = render(world([], vector_map=vector_map), cam).image.astype(int)
    bright = image.min(axis=2)
    assert abs(int(np.argmax(bright[350:, 500])) + 350 - 372) <= 2
    row = image[450]  # 4.8 m ahead
    yellow = np.flatnonzero(row[:, 2] - row[:, 0] > 80)
    assert yellow.size and abs(yellow.mean() + 0.5 - 400) < 1
    assert yellow.size == pytest.approx(0.17 / 4.8 * 500, abs=4)


def test_same_state_same_bytes_and_any_order_of_views():
    scene = world([thing(k, 8.0 + 4 * k, (-1.0)**k * 3, (1.93, 4.61, 1.71), 0.3 * k) for k in range(1, 5)], noise=4.0,
                  wetness=0.8)
    cameras = [camera(0.0), camera(2.1), camera(-1.0)]
    forward = SceneRenderer(scene)
    images = [forward.render(scene.frames[0], cam, np.random.default_rng(3)) for cam in cameras]
    backward = SceneRenderer(scene)
    for cam, image in zip(reversed(cameras), reversed(images)):
        again = backward.render(scene.frames[0], cam, np.random.default_rng(3))
        np.testing.assert_array_equal(again.image, image.image)
        np.testing.assert_array_equal(again.instance_ids, image.instance_ids)
    other = backward.render(scene.frames[0], cameras[0], np.random.default_rng(4))
    assert (other.image != images[0].image).any()


def test_weather_changes_the_light_and_leaves_the_objects():
    def look(**weather):
        return render(world([thing(1, 12.0, 0.0, (1.93, 4.61, 1.71))], **weather))

    clear, night, rain, fog = look(), look(brightness=0.25), look(wetness=1.0, cloudiness=1.0), look(fog=0.1)
    assert night.image.mean() < 0.6 * clear.image.mean()
    assert fog.image[20:40].std() < clear.image[20:40].std()
    assert (rain.image != clear.image).any()
    for view in (night, rain, fog):
        np.testing.assert_array_equal(view.instance_ids, clear.instance_ids)
        shown = view.instance_ids == 1
        assert view.image[shown].std() > 3


def test_shadows_fall_away_from_the_sun(blocks):
    # The sun stands to the left (+y), 45 deg high: the shadow of a 2.24 m block reaches 2.24 m to its right.
    cam = camera(width=160, height=120, focal=80.0, center=(80., 40.), position=(0., 0., 4.0))
    weather = dict(sun_azimuth=np.pi / 2, sun_elevation=np.pi / 4)
    vector_map = VectorMap(drivable_areas=[rectangle(-40, 60, -30, 30)])
    lit = render(world([], vector_map=vector_map, **weather), cam).image.astype(float)
    image = render(world([thing(1, 12.0, 0.0, BLOCK)], vector_map=vector_map, **weather), cam).image.astype(float)

    def at(x: float, y: float) -> tuple[int, int]:
        return int(40 + 80 * 4.0 / x), int(80 - 80 * y / x)

    ratio = image.mean(axis=2) / lit.mean(axis=2)
    assert ratio[at(12.0, -2.2)] < 0.8  # 1.2 m beside the block, away from the sun
    assert ratio[at(12.0, 2.6)] > 0.9
    assert ratio[at(12.0, -4.3)] > 0.9


def test_bad_intrinsics_are_refused():
    cam = camera()
    cam.cam2img[0, 0] = 0.0
    with pytest.raises(ValueError, match='CAM_TEST.*focal'):
        render(world([]), cam)
    with pytest.raises(ValueError, match='no drivable area'):
        SceneRenderer(world([], vector_map=VectorMap(sidewalks=[rectangle(0, 1, 0, 1)])))


def test_projected_hull_and_distances_by_hand():
    box = Box([0, 0, 11.0], [2.0, 2.0, 2.0], Quaternion())  # a cube from 10 m to 12 m before the camera
    hull = projected_hull(box, np.array([[100.0, 0, 50], [0, 100, 40], [0, 0, 1]]))
    np.testing.assert_allclose([hull.min(axis=0), hull.max(axis=0)], [[40, 30], [60, 50]], atol=1e-4)
    assert outside_distance(hull, np.array([[50., 40.]])) == pytest.approx(-10, abs=1e-4)
    corner = np.array([[50., 40.], [63., 54.]])  # the second lies 3 right of and 4 below the corner: 5 away
    assert outside_distance(hull, corner) == pytest.approx(5, abs=1e-4)
    assert projected_hull(Box([0, 0, -11.0], [2.0, 2.0, 2.0], Quaternion()), np.eye(3)) is None
