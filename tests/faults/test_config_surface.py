"""Overrides of a config: whatever is written there works, or is refused in words that name it."""
from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet3d.registry import MODELS
from mmdet3d.utils import register_all_modules
from mmengine.config import Config

import scene_qformer  # noqa: F401  registers the parts
from scene_qformer.random_batch import random_batch

CONFIG = 'configs/scene_qformer/scene-qformer_tiny_synthetic.py'
EXAMPLES = 150
NUMBERS = st.sampled_from([-1, 0, 1, 2, 3, 7, 16, 32, 64, 128, 0.5, None, 'many', [1, 2]])
SURFACE = st.one_of(
    st.tuples(st.sampled_from([
        'scene_queries.num_queries', 'scene_queries.num_proposals', 'scene_queries.concentration', 'decoder.num_layers',
        'decoder.embed_dims', 'decoder.feedforward_channels', 'decoder.ffn_drop', 'decoder.self_attn_cfg.num_heads',
        'decoder.cross_attn_cfg.num_heads', 'decoder.cross_attn_cfg.num_points', 'projector.in_channels',
        'projector.hidden_channels', 'projector.out_channels', 'bbox_head.num_classes', 'bbox_head.embed_dims',
        'positional_encoding.embed_dims', 'neck.out_channels', 'token_position', 'bbox_head', 'denoising',
        'denoising.num_groups', 'scene_queries.embed_dims']), NUMBERS),
    st.tuples(st.sampled_from(['decoder.refine_reference_points', 'decoder.with_cp', 'bbox_head.ray_aligned']),
              st.sampled_from([True, False])),
    st.tuples(st.just('decoder.cross_attn_cfg'), st.sampled_from([
        dict(type='GlobalAttention', num_heads=4), dict(type='MultiheadAttention', num_heads=4),
        dict(type='GlobalAttention', num_heads=7), dict(type='NoSuchAttention')])),
    st.tuples(st.just('positional_encoding'), st.sampled_from([
        dict(type='CameraIDEncoding', embed_dims=128, num_cameras=6), dict(type='Sine2DEncoding', embed_dims=130),
        dict(type='CameraIDEncoding', embed_dims=128, num_cameras=2), dict(type='RayEncoding', embed_dims=128)])))


def override(model: dict, key: str, value) -> dict:
    """The model's config with another value at a dotted name."""
    model = copy.deepcopy(model)
    *path, last = key.split('.')
    holder = model
    for name in path:
        holder = holder[name]
    holder[last] = value
    return model


@pytest.mark.slow
@pytest.mark.fault(area='Any values', fault='overrides of a config',
                   expected='it trains and gives tokens, or says what is wrong',
                   remedy='Correct the value that the message names.')
def test_overrides(count):
    register_all_modules(init_default_scope=True)
    model_config = Config.fromfile(CONFIG).model.to_dict()
    batch = random_batch(6, (64, 48), batch_size=1, num_objects=3)

    @settings(max_examples=EXAMPLES, derandomize=True, deadline=None, database=None)
    @given(st.lists(SURFACE, min_size=1, max_size=2, unique_by=lambda pair: pair[0].split('.')[0]))
    def holds(overrides):
        changed = override(model_config, 'scene_queries.num_proposals', 23)
        changed = override(changed, 'scene_queries.num_queries', 31)
        for key, value in overrides:
            changed = override(changed, key, value)
        torch.manual_seed(0)
        try:
            model = MODELS.build(changed)
            samples = copy.deepcopy(batch['data_samples'])
            losses = model.train()(dict(imgs=torch.randn(1, 6, 3, 48, 64)), samples, mode='loss')
            tokens = model.eval()(dict(imgs=torch.randn(1, 6, 3, 48, 64)), samples, mode='tensor')
        except (ValueError, KeyError, TypeError) as error:
            assert len(str(error)) > 20, f'{overrides}: {error!r}'
        except RuntimeError as error:
            assert str(error).startswith("Mode 'loss' needs a head"), f'{overrides}: {error!r}'
        else:
            assert all(loss.isfinite().all() for loss in losses.values()) and tokens.isfinite().all()

    holds()
    count(generated=EXAMPLES)
