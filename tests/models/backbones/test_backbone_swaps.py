"""One dict of the default config, replaced from the command line, is all that it takes to train another backbone."""
import argparse
from pathlib import Path

import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.utils import register_all_modules
from mmengine.config import Config, DictAction
from mmengine.optim import build_optim_wrapper

from scene_qformer.random_batch import random_batch

register_all_modules(init_default_scope=True)

DEFAULT = Path(__file__).parents[3] / 'configs/scene_qformer/scene-qformer_r50_8xb4-24e_nus-336.py'
SMALLER = ('model.scene_queries.num_queries=11 model.decoder.num_layers=1 model.decoder.feedforward_channels=13 '
           'model.projector.out_channels=17')
BACKBONE, CHANNELS = 'model.backbone', 'model.neck.in_channels'  # the neck is told the channels of the levels
# Options, and the class that the model then has.
SWAPS = {
    'ResNet-18': (f'{BACKBONE}.depth=18 {BACKBONE}.init_cfg=None {BACKBONE}.zero_init_residual=False '
                  f'{CHANNELS}=[256,512]', 'ResNet'),
    'timm ConvNeXt': (f'{BACKBONE}._delete_=True {BACKBONE}.type=TimmBackbone {BACKBONE}.name=test_convnext '
                      f'{BACKBONE}.out_strides=(16,32) {CHANNELS}=[48,64]', 'TimmBackbone'),
    'timm ViT': (f'{BACKBONE}._delete_=True {BACKBONE}.type=TimmBackbone {BACKBONE}.name=test_vit '
                 f'{CHANNELS}=[64]', 'TimmBackbone'),
    'mmdet Swin': (f'{BACKBONE}._delete_=True {BACKBONE}.type=mmdet.SwinTransformer {BACKBONE}.embed_dims=8 '
                   f'{BACKBONE}.depths=[1,1,1,1] {BACKBONE}.num_heads=[1,1,2,2] {BACKBONE}.window_size=3 '
                   f'{BACKBONE}.out_indices=(2,3) {CHANNELS}=[32,64]', 'SwinTransformer'),
}


def with_options(options):
    """The default config after ``--cfg-options``, as tools/train.py reads them."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    cfg = Config.fromfile(DEFAULT)
    cfg.merge_from_dict(parser.parse_args(['--cfg-options', *SMALLER.split(), *options.split()]).cfg_options)
    return cfg


@pytest.mark.parametrize(('options', 'expected'), SWAPS.values(), ids=SWAPS)
def test_swapping_the_backbone_trains_a_step(options, expected):
    cfg = with_options(options)
    model = MODELS.build(cfg.model)
    model.init_weights()
    assert type(model.backbone).__name__ == expected
    weights = {name: weight for name, weight in model.named_parameters()
               if name.startswith(('backbone.', 'neck.')) and weight.requires_grad and weight.dim() > 1}
    reached = set()
    for name, weight in weights.items():
        weight.register_hook(lambda gradient, name=name: reached.add(name) if gradient.abs().sum() else None)
    before = {name: weight.detach().clone() for name, weight in weights.items()}

    log = model.train().train_step(
        random_batch(6, (64, 48), batch_size=2, num_objects=3), build_optim_wrapper(model, cfg.optim_wrapper))

    assert torch.isfinite(log['loss'])
    assert weights.keys() - reached == set()
    assert [name for name, weight in weights.items() if torch.equal(weight, before[name])] == []
