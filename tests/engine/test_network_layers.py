import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.utils import register_all_modules
from torch import nn

from scene_qformer.engine.network_layers import layer_name, parameter_layers

register_all_modules(init_default_scope=True)


def layers_of(**config):
    network = MODELS.build(config)
    layers = parameter_layers(network)
    names = [name for _, names in layers for name in names]
    assert sorted(names) == sorted(name for name, _ in network.named_parameters())  # each once
    return dict(layers)


def test_resnet():
    layers = layers_of(type='mmdet.ResNet', depth=18, base_channels=2)
    assert list(layers) == ['stem', *(f'layer{stage}.{block}' for stage in (1, 2, 3, 4) for block in (0, 1))]
    assert layers['stem'] == ['conv1.weight', 'bn1.weight', 'bn1.bias']
    assert 'layer2.0.downsample.0.weight' in layers['layer2.0']


def test_deep_stem_is_one_stem():
    layers = layers_of(type='mmdet.ResNetV1d', depth=18, base_channels=4, stem_channels=8)
    assert list(layers)[:2] == ['stem', 'layer1.0']
    assert len(layers['stem']) == 9


def test_swin():
    layers = layers_of(type='mmdet.SwinTransformer', embed_dims=4, depths=(1, 1, 2, 1), num_heads=(1, 1, 1, 1))
    assert list(layers) == ['stem', 'stages.0.blocks.0', 'stages.1.blocks.0', 'stages.2.blocks.0', 'stages.2.blocks.1',
                            'stages.3.blocks.0']
    assert 'stages.2.downsample.norm.weight' in layers['stages.2.blocks.1']
    assert 'norm3.weight' in layers['stages.3.blocks.0']


def test_timm_vit():
    layers = layers_of(type='TimmBackbone', name='test_vit')
    assert list(layers) == ['stem', *(f'model.blocks.{index}' for index in range(6))]
    assert {'model.cls_token', 'model.pos_embed', 'model.patch_embed.proj.weight'} <= set(layers['stem'])
    assert 'model.norm.weight' in layers['model.blocks.5']


def test_timm_convnext():
    layers = layers_of(type='TimmBackbone', name='test_convnext', out_strides=(8, ))
    assert list(layers) == ['stem', 'model.stages.0.blocks.0', 'model.stages.1', 'model.stages.1.blocks.1']
    assert 'model.stages.1.downsample.0.weight' in layers['model.stages.1']


def test_names():
    assert layer_name(['blocks.3.norm1.weight', 'blocks.3.attn.qkv.weight']) == 'blocks.3'
    assert layer_name(['blocks.11.norm1.weight', 'blocks.11.mlp.fc1.weight', 'norm.weight']) == 'blocks.11'
    assert layer_name(['net.blocks.0.gamma', 'net.blocks.0.fc.bias', 'net.norm.weight'], root=1) == 'net.blocks.0'
    assert layer_name(['scale']) == 'scale'


def test_a_grouping_that_leaves_something_out():
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))

        def parameter_layers(self):
            return [['first']]

    with pytest.raises(ValueError, match=r"leaves out \['second'\]"):
        parameter_layers(Network())
