"""Which parameter learns at which rate."""
from pathlib import Path

import pytest
import torch
from mmdet3d.registry import MODELS, PARAM_SCHEDULERS
from mmdet3d.utils import register_all_modules
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import nn

import scene_qformer.models  # noqa: F401  registers TimmBackbone

register_all_modules(init_default_scope=True)

SCHEDULE = Path(__file__).parents[2] / 'configs/_base_/schedules/adamw_24e.py'


class Detector(nn.Module):
    def __init__(self, **backbone):
        super().__init__()
        self.backbone = MODELS.build(backbone)
        self.decoder = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))


def groups_of(model, **paramwise_cfg):
    paramwise_cfg.setdefault('layer_decay', {'backbone': 0.5})
    paramwise_cfg.setdefault('custom_keys', {'backbone.': dict(lr_mult=0.1)})
    wrapper = build_optim_wrapper(model, dict(
        constructor='LayerDecayOptimWrapperConstructor', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.01),
        paramwise_cfg=paramwise_cfg))
    return wrapper.optimizer.param_groups


def rates_of(model, **paramwise_cfg):
    """Rate by parameter; every trained parameter is in exactly one group."""
    names = {id(weight): name for name, weight in model.named_parameters()}
    groups = groups_of(model, **paramwise_cfg)
    found = [(names[id(weight)], group['lr']) for group in groups for weight in group['params']]
    assert sorted(name for name, _ in found) == sorted(
        name for name, weight in model.named_parameters() if weight.requires_grad)
    return dict(found)


@pytest.mark.parametrize(('backbone', 'expected'), [
    (dict(type='TimmBackbone', name='test_vit'), {
        'backbone.model.pos_embed': 6, 'backbone.model.patch_embed.proj.weight': 6,
        'backbone.model.blocks.0.norm1.bias': 5, 'backbone.model.blocks.3.attn.qkv.weight': 2,
        'backbone.model.blocks.5.mlp.fc2.weight': 0, 'backbone.model.norm.weight': 0}),
    (dict(type='TimmBackbone', name='test_convnext', out_strides=(16, )), {
        'backbone.model.stem.0.weight': 7, 'backbone.model.stages.0.blocks.0.conv_dw.weight': 6,
        'backbone.model.stages.1.downsample.1.weight': 5, 'backbone.model.stages.1.blocks.0.conv_dw.weight': 5,
        'backbone.model.stages.1.blocks.1.gamma': 4, 'backbone.model.stages.2.blocks.3.mlp.fc1.weight': 0}),
    (dict(type='mmdet.ResNet', depth=18, base_channels=2), {
        'backbone.conv1.weight': 8, 'backbone.bn1.weight': 8, 'backbone.layer1.0.conv1.weight': 7,
        'backbone.layer2.0.downsample.0.weight': 5, 'backbone.layer4.1.bn2.bias': 0}),
], ids=['ViT', 'ConvNeXt', 'ResNet'])
def test_rates_fall_towards_the_image(backbone, expected):
    rates = rates_of(Detector(**backbone))
    for name, k in expected.items():
        assert rates[name] == pytest.approx(1e-4 * 0.5**k), name
    for name in ('decoder.0.weight', 'decoder.1.bias'):
        assert rates[name] == pytest.approx(1e-3)


def test_groups_are_named_by_module():
    groups = groups_of(Detector(type='TimmBackbone', name='test_vit'))
    assert [group['name'] for group in groups] == [
        'backbone.stem', *(f'backbone.model.blocks.{index}' for index in range(6)), 'decoder']
    assert groups[4]['lr'] == pytest.approx(1e-4 * 0.5**2)  # blocks.3


def test_the_decay_holds_to_the_end_of_training():
    """The large schedule leaves every group the same share of its rate: an absolute floor would make them alike."""
    epoch_length = 50
    cfg = Config.fromfile(SCHEDULE)
    cfg.optim_wrapper.constructor = 'LayerDecayOptimWrapperConstructor'
    cfg.optim_wrapper.paramwise_cfg.layer_decay = {'backbone': 0.5}
    wrapper = build_optim_wrapper(Detector(type='TimmBackbone', name='test_vit'), cfg.optim_wrapper)
    groups = wrapper.optimizer.param_groups
    at_first = {group['name']: group['lr'] for group in groups}
    assert at_first['backbone.stem'] == pytest.approx(1e-5 * 0.5**6) and at_first['decoder'] == pytest.approx(1e-4)
    schedulers = [PARAM_SCHEDULERS.build(
        dict(scheduler), default_args=dict(optimizer=wrapper.optimizer, epoch_length=epoch_length))
        for scheduler in cfg.param_scheduler]
    for _ in range(cfg.train_cfg.max_epochs * epoch_length):
        wrapper.optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    for group in groups:
        assert group['lr'] == pytest.approx(1e-3 * at_first[group['name']], rel=0.02), group['name']


def test_other_settings_still_count():
    """Norms without weight decay stand in groups of their own, under the name of their layer."""
    groups = groups_of(Detector(type='TimmBackbone', name='test_vit'), custom_keys={}, norm_decay_mult=0.)
    first = [group for group in groups if group['name'] == 'backbone.model.blocks.0']
    assert sorted(group['weight_decay'] for group in first if 'weight_decay' in group) == [0., 0.01]
    assert {group['lr'] for group in first} == {1e-3 * 0.5**5}


def test_frozen_layers_are_in_no_group():
    model = Detector(type='TimmBackbone', name='test_vit', frozen_stages=2)
    assert [group['name'] for group in groups_of(model)] == [
        *(f'backbone.model.blocks.{index}' for index in (2, 3, 4, 5)), 'decoder']


def test_a_step_moves_layers_by_their_rates():
    model = Detector(type='mmdet.ResNet', depth=18, base_channels=2)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    wrapper = build_optim_wrapper(model, dict(
        constructor='LayerDecayOptimWrapperConstructor', optimizer=dict(type='SGD', lr=1.),
        paramwise_cfg=dict(layer_decay={'backbone': 0.5})))
    wrapper.update_params(sum(weight.sum() for weight in model.parameters()))  # gradients of 1
    moved = {name: (before[name] - weight).mean().item() for name, weight in model.named_parameters()}
    assert moved['decoder.0.weight'] == pytest.approx(1.)
    assert moved['backbone.layer4.1.conv1.weight'] == pytest.approx(1., rel=1e-3)
    assert moved['backbone.layer4.0.conv1.weight'] == pytest.approx(0.5, rel=1e-3)
    assert moved['backbone.conv1.weight'] == pytest.approx(0.5**8, rel=1e-3)


@pytest.mark.parametrize('layer_decay', [None, 0.8, {'backbone': 1.5}, {'backbone': 0}])
def test_wrong_decay_is_told(layer_decay):
    with pytest.raises(ValueError, match=r'layer_decay=\{network: rate\}\), rates above 0 and at most 1'):
        groups_of(nn.Linear(2, 2), layer_decay=layer_decay)


def test_unknown_network_is_told():
    with pytest.raises(ValueError, match="names 'backbon', but the model has no such part; it has backbone, decoder"):
        groups_of(Detector(type='mmdet.ResNet', depth=18, base_channels=2), layer_decay={'backbon': 0.5})


def test_state_comes_back_with_its_names():
    groups = groups_of(Detector(type='TimmBackbone', name='test_vit'))
    optimizer = torch.optim.AdamW([dict(params=group['params']) for group in groups])
    optimizer.load_state_dict(torch.optim.AdamW(groups).state_dict())
    assert optimizer.param_groups[0]['name'] == 'backbone.stem'
