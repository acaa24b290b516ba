"""Whole pictures: sizes, and the right colour at pixels that are worked out by hand."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from mmdet3d.structures import LiDARInstance3DBoxes
from mmengine.structures import InstanceData

from scene_qformer.visualization import (
    CLASS_COLORS,
    SURROUND_LAYOUT,
    class_colors,
    draw_birds_eye_view,
    draw_camera_view,
    draw_frame,
    draw_surround_view,
)

CLASSES = ('pedestrian', 'car', 'truck')
# looks along the LiDAR's y; focal length 100 px, principal point (100, 60): pixel (100 + 100 x / y, 60 - 100 z / y)
LIDAR2IMG = np.array([[100., 100, 0, 0], [0, 60, -100, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


def instances(rows: list[list[float]], labels: list[int], scores: list[float] | None = None) -> InstanceData:
    """Boxes by x, y, z of the bottom, length, width, height, yaw, vx, vy."""
    boxes = LiDARInstance3DBoxes(torch.tensor(rows, dtype=torch.float32).reshape(-1, 9), box_dim=9)
    data = InstanceData(bboxes_3d=boxes, labels_3d=torch.tensor(labels, dtype=torch.long))
    if scores is not None:
        data.scores_3d = torch.tensor(scores)
    return data


def test_palette():
    colors = class_colors(('truck', 'unheard_of', 'car'))
    assert colors.shape == (3, 3) and colors.dtype == np.uint8
    assert tuple(colors[0]) == CLASS_COLORS['truck'] and tuple(colors[2]) == CLASS_COLORS['car']
    assert len(np.unique(class_colors(tuple(CLASS_COLORS)), axis=0)) == len(CLASS_COLORS)
    assert class_colors(()).shape == (0, 3)


def test_predicted_box_has_its_class_colour():
    grey = np.full((120, 200, 3), 90, np.uint8)
    # x in [-4, 4], y in [9, 11], z in [-3, 3]: the near face spans pixels 100 +- 400/9, 60 +- 300/9
    pred = instances([[0, 10, -3, 2, 8, 6, np.pi / 2, 0, 0]], [1], [0.9])
    picture = draw_camera_view(grey, LIDAR2IMG, pred, None, CLASSES)
    assert picture.shape == (120, 200, 3) and picture.dtype == np.uint8
    assert (grey == 90).all()  # the input stays
    left, lower = round(100 - 400 / 9), round(60 + 300 / 9)
    for row, column in ((60, left), (lower, 80)):
        window = picture[row - 1:row + 2, column - 1:column + 2].reshape(-1, 3).astype(int)
        assert np.abs(window - CLASS_COLORS['car']).sum(axis=1).min() < 120
    # the front face (depth 11) is tinted; beside the box nothing is
    tint = 0.65 * 90 + 0.35 * np.array(CLASS_COLORS['car'])
    np.testing.assert_allclose(picture[60, 100], tint, atol=2)
    np.testing.assert_array_equal(picture[60, 10], [90, 90, 90])


def test_true_box_is_white_and_boxes_behind_are_absent():
    grey = np.full((120, 200, 3), 90, np.uint8)
    truth = instances([[0, 10, -3, 2, 8, 6, 0, 0, 0]], [1])  # x in [-1, 1], y in [6, 14]
    picture = draw_camera_view(grey, LIDAR2IMG, None, truth, CLASSES)
    column = round(100 - 100 / 6)
    assert picture[60, column - 2:column + 3].min(axis=1).max() > 180  # the near left edge
    behind = instances([[0, -10, -3, 2, 8, 6, 0, 0, 0]], [1], [0.5])
    np.testing.assert_array_equal(draw_camera_view(grey, LIDAR2IMG, behind, behind, CLASSES), grey)


def test_resizing_takes_the_boxes_along():
    grey = np.full((120, 200, 3), 90, np.uint8)
    pred = instances([[0, 10, -3, 2, 8, 6, np.pi / 2, 0, 0]], [1], [0.9])
    half = draw_camera_view(grey, LIDAR2IMG, pred, None, CLASSES, width=100)
    assert half.shape == (60, 100, 3)
    column = round((100 - 400 / 9) / 2)
    window = half[29:32, column - 1:column + 2].reshape(-1, 3).astype(int)
    assert np.abs(window - CLASS_COLORS['car']).sum(axis=1).min() < 120


def test_surround_view_lays_the_cameras_out():
    names = [name for row in SURROUND_LAYOUT for name in row]
    images = {name: np.full((45, 80, 3), 20 * index, np.uint8) for index, name in enumerate(names)}
    matrices = dict.fromkeys(names, LIDAR2IMG)
    picture = draw_surround_view(images, matrices, panel_width=80)
    assert picture.shape == (2 * 45 + 6, 3 * 80 + 2 * 6, 3)
    for index in range(6):
        row, column = divmod(index, 3)
        assert (picture[row * 51 + 40, column * 86 + 40] == 20 * index).all()
    del images['CAM_BACK']
    with pytest.raises(KeyError, match='CAM_BACK; images are there of CAM_FRONT_LEFT'):
        draw_surround_view(images, matrices)


def test_birds_eye_view_has_forward_up():
    # 20 m ahead and 10 m to the right; 400 px for 80 m: column 200 + 50, row 200 - 100
    pred = instances([[10, 20, 0, 6, 6, 2, 0, 0, 0]], [2], [1.0])
    picture = draw_birds_eye_view(pred, None, CLASSES, extent=40, size=400)
    assert picture.shape == (400, 400, 3) and picture.dtype == np.uint8
    background = np.array([0x10, 0x13, 0x1a])
    expected = 0.7 * np.array(CLASS_COLORS['truck']) + 0.3 * background
    np.testing.assert_allclose(picture[100 - 8, 250 - 8], expected, atol=6)
    empty = draw_birds_eye_view(extent=40, size=400)
    assert np.abs(empty[92, 242].astype(int) - background).max() < 4


def test_arrow_is_one_second_long_and_unknown_velocity_has_none():
    def column_of_white(velocity: float) -> int:
        truth = instances([[0, 20, 0, 2, 2, 2, 0, velocity, 0]], [1])  # centred at row 100
        picture = draw_birds_eye_view(None, truth, CLASSES, extent=40, size=400)
        return int(np.flatnonzero((picture[98:103].min(axis=2) > 200).any(axis=0)).max())

    # the front edge lies at x = 1 m, an arrow of 12 m ends at 13 m: column 200 + 65
    assert abs(column_of_white(12.0) - 265) <= 2
    assert abs(column_of_white(float('nan')) - 205) <= 2


def test_points_are_drawn():
    points = np.tile(np.array([[-20., -20, 0, 1, 0]]), (200, 1))
    picture = draw_birds_eye_view(points=points, extent=40, size=400)
    plain = draw_birds_eye_view(extent=40, size=400)
    changed = np.argwhere((picture != plain).any(axis=2))
    assert len(changed) and np.abs(changed - (300, 100)).max() <= 2


@pytest.mark.parametrize('count', [0, 3])
def test_frame_picture(count: int):
    images = {name: np.full((90, 160, 3), 128, np.uint8) for row in SURROUND_LAYOUT for name in row}
    matrices = dict.fromkeys(images, LIDAR2IMG)
    rows = [[2 * index, 12, -1, 4, 2, 2, 0.5, 1, 0] for index in range(count)]
    pred, truth = instances(rows, list(range(count)), [0.5] * count), instances(rows, list(range(count)))
    picture = draw_frame(images, matrices, pred, truth, CLASSES, title='a frame', panel_width=320)
    # two rows of 180 px and a gap of 6; title and legend of 38 px; the bird's-eye view is square
    assert picture.shape == (366 + 2 * 38, 3 * 320 + 2 * 6 + 6 + 366, 3)
    assert picture.dtype == np.uint8
