"""Settings of a config that are none, or do not fit each other."""
import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.utils import register_all_modules
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

import scene_qformer  # noqa: F401  registers the parts
from faults.test_config_surface import CONFIG, override
from scene_qformer.engine import MuonAdamW

AREA = 'Configs'
REMEDY = 'Correct the key that the message names: in the config, or after --cfg-options.'


@pytest.fixture(scope='module')
def model_config():
    register_all_modules(init_default_scope=True)
    return Config.fromfile(CONFIG).model.to_dict()


@pytest.mark.fault(area=AREA, fault='a size that is none', expected='said which key', remedy=REMEDY)
@pytest.mark.parametrize('value', [0, -1, 0.5, 'many', True, [2]], ids=repr)
@pytest.mark.parametrize('key', [
    'neck.out_channels', 'positional_encoding.embed_dims', 'scene_queries.num_queries', 'decoder.num_layers',
    'decoder.cross_attn_cfg.num_heads', 'decoder.self_attn_cfg.num_heads', 'decoder.feedforward_channels',
    'projector.out_channels', 'bbox_head.num_classes', 'denoising.num_groups'])
def test_sizes(model_config, show, key, value):
    with pytest.raises(ValueError, match=f'Expected {key} in the config of the model to be a whole number') as caught:
        MODELS.build(override(model_config, key, value))
    if value == 0 and key.startswith('decoder.cross'):
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='two widths that meet and differ', expected='said which keys', remedy=REMEDY)
@pytest.mark.parametrize(('key', 'named'), [
    ('neck.out_channels', 'neck.out_channels is 64, but embed_dims of the positional encoding Sine2DEncoding is 128'),
    ('scene_queries.embed_dims', 'decoder.embed_dims is 128, but scene_queries.embed_dims is 64'),
    ('bbox_head.embed_dims', 'decoder.embed_dims is 128, but bbox_head.embed_dims is 64'),
    ('denoising.embed_dims', 'decoder.embed_dims is 128, but denoising.embed_dims is 64'),
    ('projector.in_channels', 'set projector.in_channels=160, not 64'),
    ('token_position', 'Expected token_position in the config of the model to be a dict')])
def test_widths(model_config, show, key, named):
    with pytest.raises(ValueError, match=named) as caught:
        MODELS.build(override(model_config, key, 64))
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='a projector of another width than the decoder', expected='said what to set',
                   remedy=REMEDY)
def test_projector(model_config, show):
    with pytest.raises(ValueError, match='set projector.in_channels=128, not 160') as caught:
        MODELS.build(override(model_config, 'token_position', None))
    show(caught.value)


MUON = dict(type='OptimWrapper', constructor='MuonOptimWrapperConstructor', optimizer=dict(type='MuonAdamW', lr=1e-3))
LAYER_DECAY = dict(type='OptimWrapper', constructor='LayerDecayOptimWrapperConstructor',
                   optimizer=dict(type='AdamW', lr=1e-3))


@pytest.fixture
def model():
    return torch.nn.ModuleDict(dict(backbone=torch.nn.Linear(2, 3), head=torch.nn.Linear(3, 5)))


@pytest.mark.fault(area=AREA, fault='learning rates by layer that make no sense', expected='refused, with an example',
                   remedy=REMEDY)
@pytest.mark.parametrize('layer_decay', [None, 0.8, {'backbone': 1.5}, {'backbone': 0}, {'backbon': 0.5}], ids=repr)
def test_layer_decay(model, show, layer_decay):
    with pytest.raises(ValueError, match='at most 1, e.g.|the model has no such part') as caught:
        build_optim_wrapper(model, dict(LAYER_DECAY, paramwise_cfg=dict(layer_decay=layer_decay)))
    if layer_decay in (0.8, {'backbon': 0.5}):
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='MuonAdamW lacks its constructor, or is given rates of another one',
                   expected='refused, with what to set', remedy=REMEDY)
@pytest.mark.parametrize('change', [dict(constructor='DefaultOptimWrapperConstructor'),
                                    dict(paramwise_cfg=dict(norm_decay_mult=0))], ids=['constructor', 'rates'])
def test_muon(model, show, change):
    with pytest.raises(ValueError, match='Muon') as caught:
        build_optim_wrapper(model, {**MUON, **change})
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='MuonAdamW with an older PyTorch', expected='said, with another optimizer to take',
                   remedy='Take AdamW, as the message writes it, or PyTorch 2.9.')
def test_muon_of_an_older_torch(model, monkeypatch, show):
    monkeypatch.delattr(torch.optim, 'Muon')
    monkeypatch.setattr(torch, '__version__', '2.8.0')
    with pytest.raises(ImportError, match='needs torch 2.9 or later') as caught:
        build_optim_wrapper(model, dict(MUON))
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='a training with MuonAdamW is to resume from a checkpoint of another optimizer',
                   expected='refused', remedy='Start anew; from its weights: --cfg-options load_from=PATH.')
def test_muon_from_another_optimizer(model, show):
    optimizer = build_optim_wrapper(model, dict(MUON)).optimizer
    assert isinstance(optimizer, MuonAdamW)
    with pytest.raises(ValueError, match='the checkpoint is of another optimizer') as caught:
        optimizer.load_state_dict(torch.optim.SGD(model.parameters(), lr=1.).state_dict())
    show(caught.value)
