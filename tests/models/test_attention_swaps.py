"""One dict of the default config, replaced from the command line, is all that it takes to train another attention."""
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
           'model.scene_queries.num_queries=11 model.projector.out_channels=17')
SMALL_DECODER = 'model.decoder.num_layers=2 model.decoder.feedforward_channels=13'
CROSS, NECK = 'model.decoder.cross_attn_cfg', 'model.neck'
FPN = (f'{NECK}._delete_=True {NECK}.type=mmdet.FPN {NECK}.in_channels=[256,512] {NECK}.out_channels=256 '
       f'{NECK}.num_outs=2')
SWAPS = {
    'GlobalAttention': f'{CROSS}.type=GlobalAttention',
    'MultiheadAttention': f'{CROSS}.type=MultiheadAttention',
    'MultiScaleDeformableAttention': f'{CROSS}._delete_=True {CROSS}.type=MultiScaleDeformableAttention '
                                     f'{CROSS}.num_levels=6',
    'MultiScaleDeformableAttention, FPN': f'{CROSS}._delete_=True {CROSS}.type=MultiScaleDeformableAttention '
                                          f'{CROSS}.num_levels=12 {FPN}',
    'SurroundDeformableAttention': f'{CROSS}._delete_=True {CROSS}.type=SurroundDeformableAttention',
    'SurroundDeformableAttention, FPN': f'{CROSS}._delete_=True {CROSS}.type=SurroundDeformableAttention '
                                        f'{CROSS}.num_levels=2 {FPN}',
    'JointSceneEncoder': 'model.decoder._delete_=True model.decoder.type=JointSceneEncoder',
    # At the default's width; BLIP-2's own, 768, also takes the width of the queries, the head and the projector.
    'Blip2QueryDecoder': 'model.decoder._delete_=True model.decoder.type=Blip2QueryDecoder '
                         'model.decoder.embed_dims=256 model.decoder.num_heads=8',
}


def with_options(options):
    """The default config after ``--cfg-options``, as tools/train.py reads them."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    cfg = Config.fromfile(DEFAULT)
    cfg.merge_from_dict(
        parser.parse_args(['--cfg-options', *SMALLER.split(), *options.split(), *SMALL_DECODER.split()]).cfg_options)
    return cfg


def batch():
    """Two frames of six images, 56x40 pixels that the preprocessor pads to 64x48."""
    rig = {name: matrices[0].repeat(3, 1, 1).numpy() for name, matrices in cameras().items() if name != 'image_size'}
    samples = []
    for token in ('one', 'two'):
        sample = OBJECTS.clone()
        sample.set_metainfo(dict(rig, sample_token=token, box_type_3d=LiDARInstance3DBoxes))
        samples.append(sample)
    images = [torch.randint(0, 256, (6, 3, 40, 56), dtype=torch.uint8) for _ in samples]
    return dict(inputs=dict(img=images), data_samples=samples)


@pytest.mark.parametrize('name', SWAPS)
def test_swapping_the_attention_trains_a_step(name):
    cfg = with_options(SWAPS[name])
    model = MODELS.build(cfg.model)
    model.init_weights()
    assert name.partition(',')[0] in {type(module).__name__ for module in model.decoder.modules()}

    reached = set()
    for key, value in model.named_parameters():
        if key.startswith(('decoder.', 'neck.', 'scene_queries.')):
            value.register_hook(lambda gradient, key=key: reached.add(key) if gradient.abs().sum() else None)
    before = {key: value.detach().clone() for key, value in model.decoder.named_parameters()}
    log = model.train().train_step(batch(), build_optim_wrapper(model, cfg.optim_wrapper))

    assert torch.isfinite(log['loss'])
    expected = {key for key, _ in model.named_parameters() if key.startswith(('decoder.', 'neck.', 'scene_queries.'))}
    assert expected - reached == set()
    assert any(not torch.equal(value, before[key]) for key, value in model.decoder.named_parameters())
