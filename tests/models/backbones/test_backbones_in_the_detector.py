"""Any mmdet backbone and any timm model, by changing one dict: loss, gradients in every weight, scene tokens."""
import pytest
import safetensors.torch
import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmdet3d.utils import register_all_modules
from mmengine.structures import InstanceData

register_all_modules(init_default_scope=True)

# by name: backbone, channels of its levels
BACKBONES = {
    'Swin': (dict(type='mmdet.SwinTransformer', embed_dims=4, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2),
                  window_size=3, out_indices=(2, 3)), [16, 32]),
    'RegNet': (dict(type='mmdet.RegNet', arch='regnetx_400mf', out_indices=(1, 2)), [64, 160]),
    'ResNeXt': (dict(type='mmdet.ResNeXt', depth=50, base_channels=4, groups=2, base_width=4, out_indices=(2, 3)),
                [64, 128]),
    'PVT': (dict(type='mmdet.PyramidVisionTransformerV2', embed_dims=4, num_layers=[1, 1, 1, 1], out_indices=(2, 3)),
            [20, 32]),
    'timm ConvNeXt': (dict(type='TimmBackbone', name='test_convnext', out_strides=(16, 32)), [48, 64]),
    'timm ViT': (dict(type='TimmBackbone', name='test_vit', img_size=(48, 80), frozen_stages=2), [64]),
    'timm EVA-02': (dict(type='TimmBackbone', name='eva02_tiny_patch14_336', model_kwargs=dict(depth=2)), [192]),
    'timm pyramid of a ViT': (dict(type='TimmBackbone', name='test_vit', out_strides=(8, 16, 32),
                                   out_indices=(1, 3, 5)), [64, 64, 64]),
}


def build(backbone, in_channels):
    attention = dict(type='GlobalAttention', num_heads=3)
    model = MODELS.build(dict(
        type='SceneQFormer',
        backbone=backbone,
        neck=dict(type='SingleLevelFPN', in_channels=in_channels, out_channels=12),
        positional_encoding=dict(type='Sine2DEncoding', embed_dims=12),
        scene_queries=dict(type='SceneQueries', num_queries=7, embed_dims=12),
        decoder=dict(type='SceneQueryDecoder', num_layers=2, embed_dims=12, self_attn_cfg=attention,
                     cross_attn_cfg=attention, feedforward_channels=17),
        bbox_head=dict(type='SceneDetectionHead', num_classes=3, embed_dims=12)))
    model.init_weights()
    return model


@pytest.mark.parametrize(('backbone', 'in_channels'), BACKBONES.values(), ids=BACKBONES)
def test_backbone(backbone, in_channels):
    model = build(backbone, in_channels)
    imgs = torch.randn(2, 3, 3, 48, 80)
    feats = model.backbone(imgs[0])
    if hasattr(model.backbone, 'out_channels'):
        assert list(model.backbone.out_channels) == in_channels
    assert model.extract_feat(imgs)[0].shape[:3] == (2, 3, 12)
    assert model.extract_feat(imgs)[0].shape[3:] == feats[0].shape[2:]
    sample = Det3DDataSample(
        metainfo=dict(sample_token='token', box_type_3d=LiDARInstance3DBoxes),
        gt_instances_3d=InstanceData(
            bboxes_3d=LiDARInstance3DBoxes(torch.rand(4, 9) + 0.5, box_dim=9), labels_3d=torch.tensor([0, 1, 2, 1])))
    sum(model.train().loss(dict(imgs=imgs), [sample, sample]).values()).backward()
    weights = dict(model.backbone.named_parameters())
    trained = {name for name, weight in weights.items() if weight.requires_grad}
    assert len(trained) > 10
    reached = {name for name, weight in weights.items() if weight.grad is not None}
    unread = {name for name in trained if name.startswith('layer4.')} if backbone['type'] == 'mmdet.RegNet' else set()
    assert reached == trained - unread
    assert model.eval()(imgs).shape == (2, 7, 12)


def test_pretrained_weights_reach_the_detector(tmp_path):
    weights = build(dict(type='TimmBackbone', name='test_vit'), [64]).backbone.model.state_dict()
    safetensors.torch.save_file(weights, tmp_path / 'test_vit.safetensors')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'test_vit.safetensors'))
    model = build(dict(type='TimmBackbone', name='test_vit', init_cfg=init_cfg), [64])
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.backbone.model.state_dict().items())


def test_weights_of_another_net_are_refused(tmp_path):
    weights = build(dict(type='TimmBackbone', name='test_convnext'), [48]).backbone.model.state_dict()
    safetensors.torch.save_file(weights, tmp_path / 'test_convnext.safetensors')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'test_convnext.safetensors'))
    with pytest.raises(ValueError, match='test_convnext.safetensors does not fit VisionTransformer'):
        build(dict(type='TimmBackbone', name='test_vit', init_cfg=init_cfg), [64])
