import math

import pytest
import torch
from small_rig import one_camera, random_rig, turned

from scene_qformer.models import RayEncoding
from scene_qformer.models.positional_encoding.rays import fourier_features

ONE_CELL = [torch.zeros(1, 1, 7, 1, 1)]
TWO_LEVELS = [torch.zeros(2, 3, 7, 5, 7), torch.zeros(2, 3, 7, 2, 3)]
LENGTH = 1.25**0.5  # of (0.5, 0, 1), the direction of pixel (2, 2) of the one camera


def test_fourier_features_by_hand():
    features = fourier_features(torch.tensor([[0.25, -0.5]]), num_frequencies=3)
    expected = []
    for x in (0.25, -0.5):
        angles = [math.pi * x, 2 * math.pi * x, 4 * math.pi * x]
        expected += [x, *map(math.sin, angles), *map(math.cos, angles)]
    torch.testing.assert_close(features, torch.tensor([expected]))


def test_fourier_features_tell_minus_one_from_one():
    ends = fourier_features(torch.tensor([[-1.], [1.]]), num_frequencies=4)
    assert (ends[0] - ends[1]).abs().max() > 1


@pytest.mark.parametrize(('options', 'ray'), [
    (dict(frame='camera'), [0.5 / LENGTH, 0, 1 / LENGTH]),
    (dict(frame='lidar'), [0.5 / LENGTH, 1 / LENGTH, 0]),  # camera z is LiDAR y
    (dict(frame='lidar', center_range=10.), [0.5 / LENGTH, 1 / LENGTH, 0, 0.2, 0.3, 0.5]),  # it stands at (2, 3, 5)
])
def test_one_cell_by_hand(options, ray):
    encoding = RayEncoding(embed_dims=7, num_frequencies=2, hidden_channels=11, **options)
    torch.testing.assert_close(encoding.rays(ONE_CELL, one_camera()), torch.tensor([[[ray]]]))
    features = []
    for x in ray:
        features += [x, math.sin(math.pi * x), math.sin(2 * math.pi * x), math.cos(math.pi * x),
                     math.cos(2 * math.pi * x)]
    expected = encoding.mlp(torch.tensor(features))
    torch.testing.assert_close(encoding(ONE_CELL, one_camera())[0][0, 0, :, 0, 0], expected)


def test_each_cell_of_each_level_looks_through_its_own_pixel():
    cameras = random_rig()
    rays = RayEncoding(frame='camera').rays(TWO_LEVELS, cameras)
    assert rays.shape == (2, 3, 5 * 7 + 2 * 3, 3)
    torch.testing.assert_close(rays.norm(dim=-1), torch.ones(2, 3, 41))
    pixels = rays[1, 2] @ cameras['cam2img'][1, 2, :3, :3].T
    pixels = pixels[:, :2] / pixels[:, 2:]
    torch.testing.assert_close(pixels[3 * 7 + 4], torch.tensor([4.5 * 8, 3.5 * 8]))
    torch.testing.assert_close(pixels[35 + 1 * 3 + 2], torch.tensor([2.5 * 56 / 3, 1.5 * 20]))


def test_turning_rig_and_world_turns_lidar_rays_and_leaves_camera_rays():
    cameras = random_rig()
    moved, rotation = turned(cameras, 37.)
    in_lidar = RayEncoding(embed_dims=7, frame='lidar', center_range=4.)
    in_camera = RayEncoding(embed_dims=7, frame='camera')
    before, after = in_lidar.rays(TWO_LEVELS, cameras), in_lidar.rays(TWO_LEVELS, moved)
    torch.testing.assert_close(after[..., :3], before[..., :3] @ rotation.T)
    torch.testing.assert_close(after[..., 3:], before[..., 3:] @ rotation.T, atol=1e-5, rtol=1e-5)
    assert (after - before).abs().max() > 0.1
    assert torch.equal(in_camera.rays(TWO_LEVELS, moved), in_camera.rays(TWO_LEVELS, cameras))


def test_moving_a_camera_moves_only_its_centre():
    cameras = random_rig()
    moved = {**cameras, 'lidar2cam': cameras['lidar2cam'].clone()}
    moved['lidar2cam'][0, 1, :3, 3] += 1.
    encoding = RayEncoding(frame='lidar', center_range=4.)
    difference = encoding.rays(TWO_LEVELS, moved) - encoding.rays(TWO_LEVELS, cameras)
    assert not difference[..., :3].any()
    # the move, one metre along each axis of the camera, in whatever direction of the LiDAR frame
    torch.testing.assert_close(difference[0, 1, :, 3:].norm(dim=-1) * 4, torch.full((41, ), 3**0.5))
    assert not difference[1].any() and not difference[0, 0].any()


@pytest.mark.parametrize(('options', 'message'), [
    (dict(frame='ego'), "knows the frames 'camera' and 'lidar', got frame='ego'"),
    (dict(frame='camera', center_range=4.), "center_range, metres above 0, with frame='lidar'.*'camera'"),
    (dict(center_range=0.), 'metres above 0.*got center_range=0.0'),
])
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        RayEncoding(**options)


@pytest.mark.parametrize(('frame', 'missing'), [('camera', 'cam2img'), ('lidar', 'lidar2cam'), ('lidar', 'cam2img')])
def test_missing_matrices_are_named(frame, missing):
    cameras = random_rig()
    del cameras[missing]
    with pytest.raises(ValueError, match=fr"RayEncoding\(frame='{frame}'\) needs {missing} .*PackSceneInputs"):
        RayEncoding(frame=frame)(TWO_LEVELS, cameras)


def test_camera_rays_need_no_extrinsics():
    cameras = random_rig()
    assert RayEncoding(embed_dims=7, frame='camera')(
        TWO_LEVELS, {name: cameras[name] for name in ('cam2img', 'image_size')})[1].shape == (2, 3, 7, 2, 3)


def test_singular_intrinsics_are_named():
    cameras = random_rig()
    cameras['cam2img'][1, 2, 0, 0] = 0.
    with pytest.raises(ValueError, match=r'invertible cam2img, but the one at index \(1, 2\)'):
        RayEncoding()(TWO_LEVELS, cameras)
