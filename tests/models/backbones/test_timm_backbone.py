"""Features are those that timm gives when called by hand."""
import pytest
import timm_by_hand
import torch
from mmdet3d.registry import MODELS

from scene_qformer.models import TimmBackbone


def build(name, **kwargs):
    return MODELS.build(dict(type='TimmBackbone', name=name, **kwargs)).eval()


def images(height, width, batch_size=2):
    return torch.randn(batch_size, 3, height, width)


def test_plain_vit_equals_timm():
    backbone = build('test_vit', img_size=(64, 96))
    theirs = timm_by_hand.with_weights_of(backbone, 'test_vit', img_size=(64, 96))
    imgs = images(64, 96)
    feat, = backbone(imgs)
    tokens = theirs.forward_features(imgs)  # (2, 1 + 24, 64), a class token first, normed
    assert backbone.out_channels == (64, )
    assert torch.allclose(feat, tokens[:, 1:].transpose(1, 2).reshape(2, 64, 4, 6), atol=1e-5)


def test_eva_patches_of_14_pixels_become_stride_16():
    kwargs = dict(depth=2, embed_dim=24, num_heads=2)
    backbone = build('eva02_tiny_patch14_336', img_size=112, model_kwargs=kwargs)
    theirs = timm_by_hand.with_weights_of(backbone, 'eva02_tiny_patch14_336', img_size=112, **kwargs)
    imgs = images(112, 112)
    grid = theirs.forward_features(imgs)[:, 1:].transpose(1, 2).reshape(2, 24, 8, 8)
    # 8 x 14 = 7 x 16: both grids span the image, where torch's own interpolation has the same rule
    expected = torch.nn.functional.interpolate(grid, size=(7, 7), mode='bilinear', align_corners=False)
    assert torch.allclose(backbone(imgs)[0], expected, atol=1e-5)


@pytest.mark.parametrize('name', ['test_convnext', 'test_efficientnet', 'test_resnet'])
def test_hierarchical_nets_equal_timm(name):
    backbone = build(name, out_strides=(8, 16, 32))
    first = {'test_convnext': 1, 'test_efficientnet': 2, 'test_resnet': 2}[name]  # the stage of stride 8
    theirs = timm_by_hand.with_weights_of(
        backbone, name, features_only=True, feature_cls='getter', out_indices=(first, first + 1, first + 2))
    imgs = images(64, 96)
    for ours, feat, channels in zip(backbone(imgs), theirs(imgs), backbone.out_channels, strict=True):
        assert torch.allclose(ours, feat, atol=1e-5)
        assert ours.shape[1] == channels


def test_swin_takes_any_size_and_is_padded_to_its_stride():
    kwargs = dict(embed_dim=6, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), window_size=3)
    backbone = build('swin_tiny_patch4_window7_224', out_strides=(16, 32), model_kwargs=kwargs)
    theirs = timm_by_hand.with_weights_of(
        backbone, 'swin_tiny_patch4_window7_224', strict_img_size=False, **kwargs)
    imgs = images(70, 101)
    feats = theirs.forward_intermediates(
        torch.nn.functional.pad(imgs, (0, 128 - 101, 0, 96 - 70)), indices=[2, 3], norm=True, intermediates_only=True)
    ours = backbone(imgs)
    assert [tuple(feat.shape) for feat in ours] == [(2, 24, 5, 7), (2, 48, 3, 4)]
    assert torch.allclose(ours[0], feats[0][..., :5, :7], atol=1e-5)
    assert torch.allclose(ours[1], feats[1], atol=1e-5)


def test_patches_of_8_pixels_are_averaged():
    kwargs = dict(patch_size=8)
    backbone = build('test_vit', img_size=48, model_kwargs=kwargs)
    fine = build('test_vit', img_size=48, model_kwargs=kwargs, out_strides=(8, ))
    fine.load_state_dict(backbone.state_dict())
    imgs = images(48, 48)
    assert torch.allclose(backbone(imgs)[0], torch.nn.functional.avg_pool2d(fine(imgs)[0], 2), atol=1e-5)


def test_blocks_by_index():
    backbone = build('test_vit', img_size=32, out_strides=(8, 16), out_indices=(1, -1))
    theirs = timm_by_hand.with_weights_of(backbone, 'test_vit', img_size=32)
    imgs = images(32, 32)
    second, last = theirs.forward_intermediates(imgs, indices=[1, 5], norm=True, intermediates_only=True)
    fine, coarse = backbone(imgs)
    assert torch.allclose(coarse, last, atol=1e-5)
    assert torch.allclose(fine, torch.nn.functional.interpolate(second, scale_factor=2., mode='bilinear'), atol=1e-5)


def test_stages_that_nobody_reads_are_left_out():
    assert len(build('test_convnext', out_strides=(8, )).model.stages) == 2
    assert len(build('test_vit', out_indices=(2, )).model.blocks) == 3


@pytest.mark.parametrize(('name', 'kwargs'), [
    ('test_vit', {}), ('test_convnext', dict(out_strides=(8, 16))),
    ('eva02_tiny_patch14_336', dict(model_kwargs=dict(depth=2))),
    ('swin_tiny_patch4_window7_224', dict(model_kwargs=dict(embed_dim=6, depths=(1, 1, 1, 1)))),
])
@pytest.mark.parametrize('with_cp', [False, True])
def test_every_weight_gets_a_gradient(name, kwargs, with_cp):
    """With activations recomputed as well; a weight without one would stop distributed training."""
    backbone = build(name, with_cp=with_cp, **kwargs).train()
    sum(feat.square().sum() for feat in backbone(images(48, 64))).backward()
    assert [key for key, weight in backbone.named_parameters() if weight.grad is None] == []


def test_recomputing_changes_no_gradient():
    gradients = []
    for with_cp in (False, True):
        torch.manual_seed(3)
        backbone = build('test_vit', with_cp=with_cp, img_size=32).train()
        backbone(torch.ones(1, 3, 32, 32).mul(torch.arange(32.)))[0].square().sum().backward()
        gradients.append([weight.grad for weight in backbone.parameters()])
    assert backbone.model.grad_checkpointing
    assert all(torch.allclose(*pair, atol=1e-5) for pair in zip(*gradients))


def test_drop_path_drops_in_training_alone():
    backbone = build('test_vit', drop_path_rate=0.9)
    imgs = images(32, 32)
    assert torch.equal(backbone(imgs)[0], backbone(imgs)[0])
    backbone.train()
    assert not torch.allclose(backbone(imgs)[0], backbone(imgs)[0])
    assert backbone.model.blocks[-1].drop_path1.drop_prob == pytest.approx(0.9)


def test_frozen_whole():
    backbone = build('test_efficientnet', frozen=True, drop_path_rate=0.5).train()
    assert not any(weight.requires_grad for weight in backbone.parameters())
    assert not any(module.training for module in backbone.model.modules())
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    feat, = backbone(images(32, 32))
    assert not feat.requires_grad
    assert all(torch.equal(before[key], value) for key, value in backbone.state_dict().items())  # batch norms too


@pytest.mark.parametrize(('name', 'frozen_stages', 'frozen', 'trained'), [
    ('test_vit', 0, ['cls_token', 'pos_embed', 'patch_embed.proj.weight'], ['blocks.0.', 'norm.']),
    ('test_vit', 2, ['cls_token', 'patch_embed.', 'blocks.0.', 'blocks.1.'], ['blocks.2.', 'blocks.5.', 'norm.']),
    ('test_convnext', 1, ['stem.', 'stages.0.'], ['stages.1.', 'stages.2.']),
    ('test_resnet', 1, ['conv1', 'bn1', 'layer1.'], ['layer2.', 'layer3.']),
])
def test_frozen_stages(name, frozen_stages, frozen, trained):
    backbone = build(name, frozen_stages=frozen_stages).train()
    weights = dict(backbone.model.named_parameters())
    for expected, prefixes in ((False, frozen), (True, trained)):
        for prefix in prefixes:
            states = {weight.requires_grad for key, weight in weights.items() if key.startswith(prefix)}
            assert states == {expected}, prefix
    for key, module in backbone.model.named_modules():
        if any(f'{key}.'.startswith(prefix) for prefix in frozen if prefix.endswith('.')):
            assert not module.training, key
        if any(f'{key}.'.startswith(prefix) for prefix in trained):
            assert module.training, key


def test_norm_eval_keeps_statistics():
    backbone = build('test_resnet', norm_eval=True).train()
    mean = backbone.model.bn1.running_mean.clone()
    backbone(images(32, 32))
    assert torch.equal(backbone.model.bn1.running_mean, mean)
    assert backbone.model.bn1.weight.requires_grad


@pytest.mark.parametrize(('kwargs', 'message'), [
    (dict(name='convnxt_tiny'), 'nearest names are .*convnext_tiny'),
    (dict(name='test_vit', frozen_stages=7), r'frozen_stages=7, but .* the stem \(0\) and the stages 1 to 6'),
    (dict(name='test_vit', out_indices=(1, 2)), r'out_indices=\(1, 2\) and out_strides=\(16,\) must be equally many'),
    (dict(name='test_vit', out_indices=(6, )), 'test_vit has the stages or blocks 0 to 5'),
    (dict(name='test_vit', init_cfg=dict(type='Xavier')), "takes init_cfg=dict.type='Pretrained'"),
    (dict(name='test_vit', init_cfg=dict(type='Pretrained', checkpoint='a', prefix='b')), 'takes init_cfg'),
])
def test_wrong_settings_are_told(kwargs, message):
    with pytest.raises(ValueError, match=message):
        TimmBackbone(**kwargs)


def test_unknown_model_argument_is_named():
    with pytest.raises(TypeError, match='depht'):
        TimmBackbone('test_vit', model_kwargs=dict(depht=3))


def test_a_net_of_one_size_says_so():
    backbone = build('test_vit_relpos', img_size=64)
    assert backbone(images(64, 64))[0].shape == (2, 96, 4, 4)
    with pytest.raises(ValueError, match='test_vit_relpos does not take images of 32x48 .height x width.*img_size'):
        backbone(images(32, 48))
