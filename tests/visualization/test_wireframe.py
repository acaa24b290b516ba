"""Boxes cut at the near plane and at the border, with values worked out by hand.

The camera of these tests looks along the LiDAR's y (forward): right is x, down is -z; focal length 100 px, principal
point (100, 60), image 200 x 120. A point (x, y, z) lies at depth y, pixel (100 + 100 x / y, 60 - 100 z / y).
"""
from __future__ import annotations

import numpy as np
import pytest
import torch
from mmdet3d.structures import LiDARInstance3DBoxes

from scene_qformer.visualization.wireframe import (
    EDGES,
    FRONT_FACE,
    box_edges_in_image,
    clip_polygon,
    clip_segments,
    draw_segments,
    fill_polygon,
    front_face_in_image,
)

SIZE = (200, 120)
INTRINSICS = np.array([[100., 0, 100, 0], [0, 100, 60, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
LIDAR2CAM = np.array([[1., 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
LIDAR2IMG = INTRINSICS @ LIDAR2CAM


def box_corners(x: float, y: float, z: float, length: float, width: float, height: float, yaw: float) -> np.ndarray:
    """Corners (8, 3) of a box by its bottom centre."""
    return LiDARInstance3DBoxes(torch.tensor([[x, y, z, length, width, height, yaw]])).corners[0].numpy()


def test_front_face_is_where_the_box_is_heading():
    along_x = box_corners(10, 0, 0, 4, 2, 1.5, 0)
    np.testing.assert_allclose(along_x[FRONT_FACE][:, 0], 12)
    along_y = box_corners(10, 0, 0, 4, 2, 1.5, np.pi / 2)
    np.testing.assert_allclose(along_y[FRONT_FACE][:, 1], 2, atol=1e-6)


def test_edges_join_neighbours_only():
    corners = box_corners(0, 0, 0, 5, 3, 2, 0.3)
    lengths = np.linalg.norm(corners[EDGES[:, 0]] - corners[EDGES[:, 1]], axis=1)
    np.testing.assert_allclose(np.sort(lengths), [2] * 4 + [3] * 4 + [5] * 4, rtol=1e-5)


def test_box_before_the_camera_is_projected_by_hand():
    # x in [-1, 1], y in [8, 12], z in [-0.5, 0.5]; heading towards the camera's view direction
    corners = box_corners(0, 10, -0.5, 4, 2, 1, np.pi / 2)
    segments, box = box_edges_in_image(corners[None], LIDAR2IMG, SIZE)
    assert len(segments) == 12 and (box == 0).all()
    rear = {(87.5, 53.75), (112.5, 53.75), (87.5, 66.25), (112.5, 66.25)}  # depth 8: 100 +- 100/8, 60 +- 50/8
    front = {(91.667, 55.833), (108.333, 55.833), (91.667, 64.167), (108.333, 64.167)}  # depth 12
    assert {tuple(end) for end in segments.reshape(-1, 2).round(3).tolist()} == rear | front
    face = front_face_in_image(corners, LIDAR2IMG, SIZE)
    assert {tuple(corner) for corner in face.round(3).tolist()} == front


def test_box_behind_the_camera_is_not_drawn():
    corners = box_corners(0, -10, -0.5, 4, 2, 1, 0)
    segments, box = box_edges_in_image(corners[None], LIDAR2IMG, SIZE)
    assert segments.shape == (0, 2, 2) and box.shape == (0, )
    assert front_face_in_image(corners, LIDAR2IMG, SIZE).shape == (0, 2)


def test_box_around_the_camera_is_cut_at_the_near_plane():
    # x in [-1, 1], y in [-4, 4]: the 4 edges along y cross the near plane, the 4 of the rear face are gone
    corners = box_corners(0, 0, -0.5, 8, 2, 1, np.pi / 2)
    huge = (10_000, 10_000)  # nothing is cut at the border
    shifted = LIDAR2IMG.copy()
    shifted[:2] += 4000 * LIDAR2IMG[2]  # principal point (4100, 4060)
    segments, _ = box_edges_in_image(corners[None], shifted, huge, near=0.5)
    assert len(segments) == 8
    # at depth 0.5: 4100 +- 100 / 0.5, 4060 +- 50 / 0.5; at depth 4: 4100 +- 25, 4060 +- 12.5
    ends = {tuple(end) for end in segments.reshape(-1, 2).round(3).tolist()}
    near = {(x, y) for x in (3900, 4300) for y in (3960, 4160)}
    far = {(x, y) for x in (4075, 4125) for y in (4047.5, 4072.5)}
    assert ends == near | far


def test_face_half_behind_the_camera_is_cut():
    # heading along x: the front face lies at x = 2, y in [-1, 3]; the near plane cuts it at y = 1
    corners = box_corners(0, 1, -0.5, 4, 4, 1, 0)
    face = front_face_in_image(corners, LIDAR2IMG, (10_000, 10_000), near=1.0)
    # depth 1: (300, 60 +- 50), of which v = 10 and 110; depth 3: (166.667, 60 +- 16.667)
    assert {tuple(corner) for corner in face.round(3).tolist()} == {(300, 10), (300, 110), (166.667, 43.333),
                                                                     (166.667, 76.667)}


def test_lines_end_at_the_border():
    # a plane box over the left border: x in [-12, -8] at depth 10, pixels -20 .. 20
    corners = box_corners(-10, 10, -0.5, 4, 0.0, 1, 0)
    segments, _ = box_edges_in_image(corners[None], LIDAR2IMG, SIZE)
    assert segments[..., 0].min() == 0
    assert segments[..., 0].max() == pytest.approx(20)
    assert (segments >= 0).all() and (segments <= SIZE).all()


def test_boxes_keep_their_numbers():
    behind, before = box_corners(0, -10, 0, 4, 2, 1, 0), box_corners(0, 10, 0, 4, 2, 1, 0)
    _, box = box_edges_in_image(np.stack([behind, before]), LIDAR2IMG, SIZE)
    assert (box == 1).all() and len(box) == 12
    segments, box = box_edges_in_image(np.zeros((0, 8, 3)), LIDAR2IMG, SIZE)
    assert len(segments) == len(box) == 0


def test_clip_segments():
    start, end = np.array([[0., 0], [0, 0], [5, 5]]), np.array([[4., 8], [3, 3], [6, 6]])
    # heights: the first crosses at a quarter from its end, the second stays, the third is out
    kept_start, kept_end, kept = clip_segments(start, end, np.array([3., 1, -1]), np.array([-1., 1, -2]))
    np.testing.assert_array_equal(kept, [0, 1])
    np.testing.assert_allclose(kept_start, [[0, 0], [0, 0]])
    np.testing.assert_allclose(kept_end, [[3, 6], [3, 3]])


def test_clip_polygon():
    square = np.array([[0., 0], [2, 0], [2, 2], [0, 2]])
    half = clip_polygon(square, 1.5 - square[:, 0])  # keep x <= 1.5
    assert {tuple(corner) for corner in half.tolist()} == {(0, 0), (1.5, 0), (1.5, 2), (0, 2)}
    assert clip_polygon(square, np.full(4, -1.0)).shape == (0, 2)
    np.testing.assert_array_equal(clip_polygon(square, np.ones(4)), square)


def test_line_covers_the_pixels_that_it_runs_through():
    image = np.zeros((11, 17, 3), np.uint8)
    # edge coordinates: row 5 is centred at 5.5
    draw_segments(image, np.array([[[2.5, 5.5], [12.5, 5.5]]]), (10, 200, 30), 1)
    assert (image[5, 3:12, 1] > 150).all()
    assert (image[[4, 6], 3:12, 1] < 60).all()  # the rims of the anti-aliased line, the same on both sides
    assert (image[[2, 3, 7, 8]] == 0).all() and (image[:, 14:] == 0).all()


def test_fill_blends():
    image = np.full((11, 17, 3), 100, np.uint8)
    fill_polygon(image, np.array([[2., 3], [9, 3], [9, 8], [2, 8]]), (200, 0, 100), 0.5)
    np.testing.assert_array_equal(image[5, 5], [150, 50, 100])
    assert (image[:, 12:] == 100).all() and (image[:2] == 100).all()
    before = image.copy()
    fill_polygon(image, np.zeros((0, 2)), (0, 0, 0), 0.5)
    np.testing.assert_array_equal(image, before)
