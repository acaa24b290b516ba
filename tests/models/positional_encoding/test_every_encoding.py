"""What holds for every encoding, alone and summed."""
import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.utils import register_all_modules
from small_rig import random_rig, stacked

register_all_modules(init_default_scope=True)

SINE, CAMERA_ID = dict(type='Sine2DEncoding', embed_dims=8), dict(type='CameraIDEncoding', embed_dims=8)
RAYS = {
    'camera rays': dict(type='RayEncoding', embed_dims=8, frame='camera'),
    'lidar rays': dict(type='RayEncoding', embed_dims=8, frame='lidar'),
    'lidar rays with centres': dict(type='RayEncoding', embed_dims=8, frame='lidar', center_range=4.),
}
CALIBRATED = {**RAYS, 'depth bins': dict(type='DepthBinEncoding', embed_dims=8, num_bins=5)}
EVERY = {
    'sine': SINE,
    'camera id': CAMERA_ID,
    **CALIBRATED,
    'sum': dict(type='SumEncoding', encodings=[SINE, CAMERA_ID, *CALIBRATED.values()]),
}
FEATS = [torch.zeros(2, 3, 8, 5, 7), torch.zeros(2, 3, 8, 2, 3)]


def build(cfg):
    encoding = MODELS.build(cfg)
    encoding.init_weights()
    return encoding


def expanded(encoding, feats, cameras):
    return [level.expand_as(feat) for level, feat in zip(encoding(feats, cameras), feats)]


@pytest.mark.parametrize('name', EVERY)
def test_one_tensor_a_level_in_its_dtype(name):
    feats = [FEATS[0], FEATS[1].bfloat16()]
    levels = expanded(build(EVERY[name]), feats, random_rig())
    assert [level.dtype for level in levels] == [torch.float32, torch.bfloat16]
    assert all(level.isfinite().all() for level in levels)


@pytest.mark.parametrize('name', EVERY)
def test_permuting_cameras_with_their_matrices_permutes_the_codes(name):
    """Except where the place in the list is what is told."""
    cameras, order = random_rig(), [2, 0, 1]
    moved = {key: value if key == 'image_size' else value[:, order] for key, value in cameras.items()}
    encoding = build(EVERY[name])
    same = [torch.allclose(after, before[:, order], atol=1e-6)
            for before, after in zip(expanded(encoding, FEATS, cameras), expanded(encoding, FEATS, moved))]
    assert same == [name not in ('camera id', 'sum')] * 2


@pytest.mark.parametrize('name', CALIBRATED)
def test_cameras_and_samples_do_not_mix(name):
    cameras = random_rig()
    encoding = build(CALIBRATED[name])
    one = {key: value if key == 'image_size' else value[1:, 2:] for key, value in cameras.items()}
    for alone, together in zip(encoding([feat[1:, 2:] for feat in FEATS], one), encoding(FEATS, cameras)):
        torch.testing.assert_close(alone, together[1:, 2:])
        assert not torch.allclose(together[0], together[1], atol=1e-2)


@pytest.mark.parametrize('name', CALIBRATED)
def test_a_point_has_one_code_at_every_stride(name):
    """Cell (1, 2) of stride 24 and cell (4, 7) of stride 8 have one centre: pixel (60, 36)."""
    cameras = random_rig(1, 2, width=120, height=72)
    encoding = build(CALIBRATED[name])
    fine, coarse = encoding([torch.zeros(1, 2, 8, 9, 15), torch.zeros(1, 2, 8, 3, 5)], cameras)
    torch.testing.assert_close(fine[..., 1::3, 1::3], coarse, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(fine[..., ::3, ::3], coarse, atol=1e-2)


@pytest.mark.parametrize('name', CALIBRATED)
def test_resizing_images_with_their_intrinsics_changes_nothing(name):
    """A stride-8 map of an image has the codes of the stride-16 map of the image twice as large."""
    small = random_rig(width=56, height=40)
    double = torch.diag(torch.tensor([2., 2, 1, 1]))
    large = stacked(double @ small['cam2img'], small['lidar2cam'], 112, 80)
    encoding = build(CALIBRATED[name])
    torch.testing.assert_close(encoding(FEATS, large), encoding(FEATS, small), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(encoding(FEATS, {**small, 'image_size': large['image_size']})[0],
                              encoding(FEATS, small)[0], atol=1e-2)


@pytest.mark.parametrize('name', CALIBRATED)
def test_autocast_does_not_round_geometry(name):
    cameras, encoding = random_rig(), build(CALIBRATED[name])
    with torch.autocast('cpu', dtype=torch.bfloat16):
        inside = encoding(FEATS, cameras)
    for one, other in zip(inside, encoding(FEATS, cameras)):
        assert torch.equal(one, other)


@pytest.mark.parametrize('name', CALIBRATED)
def test_weights_in_half_precision_still_see_exact_geometry(name):
    """A network cast for deployment rounds its weights and the numbers that go into them, nothing before."""
    cameras, encoding = random_rig(), build(CALIBRATED[name])
    exact = encoding(FEATS, cameras)[0]
    rounded = encoding.bfloat16()([feat.bfloat16() for feat in FEATS], cameras)[0]
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, atol=0.05 * exact.abs().max().item(), rtol=0)


@pytest.mark.parametrize('name', [name for name in EVERY if name != 'sine'])
def test_gradients_reach_every_parameter(name):
    encoding = build(EVERY[name])
    # weighted, so that no gradient cancels
    sum((level * torch.randn_like(level)).sum() for level in expanded(encoding, FEATS, random_rig())).backward()
    for parameter_name, parameter in encoding.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize('name', RAYS)
def test_ray_codes_start_about_as_large_as_sine_codes(name):
    rays = build({**RAYS[name], 'embed_dims': 256})(FEATS, random_rig())[0]
    assert 0.5 < rays.square().mean().sqrt() < 1.5
