"""One dict of the default config, replaced from the command line, is all that it takes to train another encoding."""
import argparse
from pathlib import Path

import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import LiDARInstance3DBoxes
from mmdet3d.utils import register_all_modules
from mmengine.config import Config, DictAction
from mmengine.optim import build_optim_wrapper
from two_cameras import OBJECTS, cameras

register_all_modules(init_default_scope=True)

DEFAULT = Path(__file__).parents[2] / 'configs/scene_qformer/scene-qformer_r50_8xb4-24e_nus-336.py'
SMALLER = ('model.backbone.depth=18 model.backbone.init_cfg=None model.neck.in_channels=[256,512] '
           'model.scene_queries.num_queries=11 model.decoder.num_layers=1 model.decoder.feedforward_channels=13 '
           'model.projector.out_channels=17')
ENCODING = 'model.positional_encoding'
SINE = dict(type='Sine2DEncoding')
# What replaces the encoding, and the parts that the model then has. As typed, where it can be (_delete_ drops what the
# replaced encoding took); a list of dicts can only be merged.
SWAPS = {
    'sine': (f'{ENCODING}._delete_=True {ENCODING}.type=Sine2DEncoding', ['Sine2DEncoding']),
    'camera id': (f'{ENCODING}._delete_=True {ENCODING}.type=CameraIDEncoding', ['CameraIDEncoding']),
    'lidar rays': (f'{ENCODING}._delete_=True {ENCODING}.type=RayEncoding', ['RayEncoding']),
    'camera rays': (f'{ENCODING}._delete_=True {ENCODING}.type=RayEncoding {ENCODING}.frame=camera', ['RayEncoding']),
    'depth bins': (f'{ENCODING}._delete_=True {ENCODING}.type=DepthBinEncoding', ['DepthBinEncoding']),
    'sine + rays': ({f'{ENCODING}.encodings': [SINE, dict(type='RayEncoding', center_range=4.)]},
                    ['SumEncoding', 'Sine2DEncoding', 'RayEncoding']),
    'sine + depth bins': ({f'{ENCODING}.encodings': [SINE, dict(type='DepthBinEncoding')]},
                          ['SumEncoding', 'Sine2DEncoding', 'DepthBinEncoding']),
    'the default': ({}, ['SumEncoding', 'Sine2DEncoding', 'CameraIDEncoding']),
}


def default_config(*options):
    """The default config after ``--cfg-options``, as tools/train.py reads them, or after a merged dict."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    cfg = Config.fromfile(DEFAULT)
    for some in (SMALLER, *options):
        typed = isinstance(some, str)
        cfg.merge_from_dict(parser.parse_args(['--cfg-options', *some.split()]).cfg_options if typed else some)
    return cfg


def batch():
    """Two frames of two images, 56x40 pixels that the preprocessor pads to 64x48."""
    rig = {name: matrices[0].numpy() for name, matrices in cameras().items() if name != 'image_size'}
    samples = []
    for token in ('one', 'two'):
        sample = OBJECTS.clone()
        sample.set_metainfo(dict(rig, sample_token=token, box_type_3d=LiDARInstance3DBoxes))
        samples.append(sample)
    images = [torch.randint(0, 256, (2, 3, 40, 56), dtype=torch.uint8) for _ in samples]
    return dict(inputs=dict(img=images), data_samples=samples)


@pytest.mark.parametrize(('options', 'parts'), SWAPS.values(), ids=SWAPS)
def test_swapping_the_encoding_trains_a_step(options, parts):
    cfg = default_config(options)
    model = MODELS.build(cfg.model)
    model.init_weights()
    ours = [module for module in model.positional_encoding.modules() if type(module).__module__.startswith('scene_q')]
    assert [type(module).__name__ for module in ours] == parts

    gradients = {}
    for name, parameter in model.positional_encoding.named_parameters():
        parameter.register_hook(lambda gradient, key=name: gradients.update({key: gradient}))
    before = {key: value.detach().clone() for key, value in model.positional_encoding.named_parameters()}
    log = model.train().train_step(batch(), build_optim_wrapper(model, cfg.optim_wrapper))

    assert torch.isfinite(log['loss'])
    assert gradients.keys() == before.keys()
    for key, value in model.positional_encoding.named_parameters():
        assert gradients[key].abs().sum() > 0, key
        assert not torch.equal(value, before[key]), key


def test_what_the_old_encoding_took_is_refused_without_delete():
    with pytest.raises(TypeError, match="unexpected keyword argument 'encodings'"):
        MODELS.build(default_config(f'{ENCODING}.type=RayEncoding').model)
