"""Sizes in a config that are none, or do not fit each other."""
import pytest
from mmdet3d.registry import MODELS
from mmdet3d.utils import register_all_modules
from mmengine.config import Config

import scene_qformer  # noqa: F401  registers the parts
from faults.test_config_surface import CONFIG, override

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
