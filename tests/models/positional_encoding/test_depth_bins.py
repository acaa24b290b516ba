import math

import pytest
import torch
from small_rig import CAM2IMG, LIDAR2CAM, one_camera, random_rig, stacked, turned

from scene_qformer.geometry import linear_increasing_depths, project
from scene_qformer.models import DepthBinEncoding

ONE_CELL = [torch.zeros(1, 1, 7, 1, 1)]
TWO_LEVELS = [torch.zeros(2, 3, 7, 5, 7), torch.zeros(2, 3, 7, 2, 3)]
# Edges at 1, 3, 7, 13: widths 2, 4, 6.
THREE_BINS = dict(embed_dims=7, num_bins=3, depth_start=1., depth_end=13., hidden_channels=11)


def test_one_cell_by_hand():
    encoding = DepthBinEncoding(position_range=(-2., 2, 1, 8, 8, 6), **THREE_BINS)
    # d metres ahead the ray is d / 2 right of the axis; the camera stands at (2, 3, 5) and looks along y
    points = [[2.5, 4, 5], [3.5, 6, 5], [5.5, 10, 5]]
    torch.testing.assert_close(encoding.points(ONE_CELL, one_camera()), torch.tensor([[[points]]]))
    # (x + 2) / 10, (y - 2) / 6, (z - 1) / 5 = (0.45, 1/3, 0.8), (0.55, 2/3, 0.8), (0.75, 4/3: clamped to 1, 0.8);
    # the inverse sigmoid is log(x / (1 - x)), of x clamped to [1e-5, 1 - 1e-5]
    numbers = [math.log(45 / 55), math.log(1 / 2), math.log(4), math.log(55 / 45), math.log(2), math.log(4),
               math.log(3), math.log(1e5), math.log(4)]
    torch.testing.assert_close(
        encoding(ONE_CELL, one_camera())[0][0, 0, :, 0, 0], encoding.mlp(torch.tensor(numbers)), atol=1e-5, rtol=1e-5)


def test_points_of_each_cell_project_to_its_centre_at_the_depths_of_the_bins():
    cameras = random_rig()
    points = DepthBinEncoding().points(TWO_LEVELS, cameras)  # of all cameras
    assert points.shape == (2, 3, 41, 64, 3)
    pixels, depth, valid = project(points.flatten(2, 3).flatten(1, 2).double(), cameras['lidar2img'].double())
    own = torch.arange(3)
    pixels = pixels.view(2, 3, 3, 41, 64, 2)[:, own, own]  # each camera's points in itself
    depth, valid = (values.view(2, 3, 3, 41, 64)[:, own, own] for values in (depth, valid))
    assert valid.all()
    torch.testing.assert_close(depth, linear_increasing_depths(64, 1, 61.2)[:-1].double().expand_as(depth),
                               atol=1e-4, rtol=0)
    i, j = torch.meshgrid(torch.arange(5), torch.arange(7), indexing='ij')
    fine = torch.stack(((j + 0.5) * 8, (i + 0.5) * 8), -1).flatten(0, 1)
    i, j = torch.meshgrid(torch.arange(2), torch.arange(3), indexing='ij')
    coarse = torch.stack(((j + 0.5) * 56 / 3, (i + 0.5) * 20), -1).flatten(0, 1)
    expected = torch.cat((fine, coarse)).double()[:, None].expand_as(pixels)
    torch.testing.assert_close(pixels, expected, atol=1e-3, rtol=0)


def test_turning_rig_and_world_turns_the_points():
    cameras = random_rig()
    moved, rotation = turned(cameras, -53.)
    encoding = DepthBinEncoding(**THREE_BINS)
    before, after = encoding.points(TWO_LEVELS, cameras), encoding.points(TWO_LEVELS, moved)
    torch.testing.assert_close(after, before @ rotation.T, atol=1e-4, rtol=1e-5)
    assert (after - before).abs().max() > 0.1


def test_beyond_the_range_points_are_told_as_its_border():
    encoding = DepthBinEncoding(position_range=(0., 0, 0, 10, 3.5, 10), **THREE_BINS)
    cameras = one_camera()  # at y = 3, looking along y: all its points have y >= 4
    ahead = LIDAR2CAM.clone()
    ahead[2, 3] = -4  # one metre ahead of it: y >= 5
    moved = stacked(CAM2IMG[None, None], ahead[None, None], 4, 4)
    difference = encoding.points(ONE_CELL, moved) - encoding.points(ONE_CELL, cameras)
    torch.testing.assert_close(difference, torch.tensor([0., 1, 0]).expand_as(difference))
    torch.testing.assert_close(encoding(ONE_CELL, moved), encoding(ONE_CELL, cameras))
    wide = DepthBinEncoding(position_range=(0., 0, 0, 10, 35, 10), **THREE_BINS)
    assert not torch.allclose(wide(ONE_CELL, moved)[0], wide(ONE_CELL, cameras)[0], atol=1e-2)


@pytest.mark.parametrize(('options', 'message'), [
    (dict(num_bins=0), 'num_bins >= 1.*got num_bins=0'),
    (dict(depth_start=0.), '0 < start < end in metres.*start=0.0, end=61.2'),
    (dict(depth_end=1.), '0 < start < end in metres.*start=1.0, end=1.0'),
    (dict(position_range=(-61.2, 61.2)), r'expected position_range \(x_min.*got \(-61.2, 61.2\)'),
    (dict(position_range=(0, 0, 5, 1, 1, 5)), 'each minimum below its maximum, got'),
])
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        DepthBinEncoding(**options)


def test_missing_and_singular_matrices_are_named():
    cameras = random_rig()
    cameras['lidar2img'][1, 2, 2] = 0.
    with pytest.raises(ValueError, match=r'invertible lidar2img, but the one at index \(1, 2\)'):
        DepthBinEncoding()(TWO_LEVELS, cameras)
    del cameras['lidar2img']
    with pytest.raises(ValueError, match='DepthBinEncoding needs lidar2img .*came: cam2img, lidar2cam. Use PackScene'):
        DepthBinEncoding()(TWO_LEVELS, cameras)
