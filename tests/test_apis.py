from pathlib import Path

import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.utils import register_all_modules
from mmengine.config import Config

from scene_qformer import build_scene_qformer

DEFAULT = Path(__file__).parents[1] / 'configs/scene_qformer/scene-qformer_r50_8xb4-24e_nus-336.py'


def test_default_design_has_its_numbers():
    model = build_scene_qformer().eval()
    imgs = torch.randn(1, 6, 3, 336, 336)
    memories = []
    model.decoder.register_forward_pre_hook(
        lambda _, args, kwargs: memories.append(kwargs['value']), with_kwargs=True)
    with torch.no_grad():
        assert model(imgs).shape == (1, 512, 4096)
    assert memories[0].shape == (1, 2646, 256)
    assert 35e6 < sum(parameter.numel() for parameter in model.parameters()) < 42e6


def test_default_config_has_the_same_weights():
    register_all_modules(init_default_scope=True)
    cfg = Config.fromfile(DEFAULT).model
    cfg.backbone.init_cfg = None
    cfg.bbox_head = None
    shapes = {name: tensor.shape for name, tensor in MODELS.build(cfg).state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in build_scene_qformer().state_dict().items()}


@pytest.mark.parametrize('width', [64])
def test_arguments_reach_their_parts(width):
    model = build_scene_qformer(embed_dims=width, num_queries=7, num_decoder_layers=2, llm_hidden_size=11).eval()
    assert len(model.decoder.layers) == 2
    with torch.no_grad():
        assert model(torch.randn(2, 3, 3, 32, 48)).shape == (2, 7, 11)


def test_building_is_quiet(capfd):
    build_scene_qformer(embed_dims=64, num_queries=7, num_decoder_layers=1)
    assert capfd.readouterr().out == ''
