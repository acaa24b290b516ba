"""SceneTokenizer(optimize=...): from a checkpoint and a frame to nearly the same tokens."""
from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from small_models import relative_error

from scene_qformer import SceneTokenizer
from scene_qformer.datasets import NUSCENES_CAMERAS
from scene_qformer.optimization import FastSceneQFormer
from scene_qformer.token_extraction import build_split
from tests.small_encoder import SmallEncoder, make_small_encoder


@pytest.fixture(scope='module')
def encoder(tmp_path_factory: pytest.TempPathFactory) -> SmallEncoder:
    return make_small_encoder(tmp_path_factory.mktemp('encoder'))


@pytest.fixture(scope='module')
def info(encoder: SmallEncoder) -> dict:
    return build_split(encoder.cfg, 'val').get_data_info(1)


@pytest.fixture(scope='module')
def expected(encoder: SmallEncoder, info: dict) -> torch.Tensor:
    tokenizer = SceneTokenizer(encoder.config, encoder.checkpoint)
    assert not isinstance(tokenizer.model, FastSceneQFormer)
    return tokenizer(None, info)


def nearest(expected: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Relative distance of each token to the nearest one, as proposals may come in another order."""
    return torch.cdist(expected, tokens).amin(1) / expected.norm(dim=1)


def test_float32_from_the_same_checkpoint(encoder, info, expected):
    tokenizer = SceneTokenizer(encoder.config, encoder.checkpoint, optimize=dict(precision='float32'))
    assert isinstance(tokenizer.model, FastSceneQFormer)
    tokens = tokenizer(None, info)
    assert tokens.dtype == torch.float32 and relative_error(tokens, expected) < 1e-5
    pair = tokenizer(None, [info, info])
    assert relative_error(pair[1], expected) < 1e-5


def test_switch_in_the_config(encoder, info, expected, tmp_path):
    config = tmp_path / 'fast.py'
    config.write_text(f"_base_ = '{encoder.config}'\noptimize = dict(precision='float32', channels_last=False)\n")
    tokenizer = SceneTokenizer(config, encoder.checkpoint)
    assert 'fold_batch_norm' in tokenizer.model.applied and 'channels_last' not in tokenizer.model.applied
    assert relative_error(tokenizer(None, info), expected) < 1e-5
    assert not isinstance(SceneTokenizer(config, encoder.checkpoint, optimize=False).model, FastSceneQFormer)


def test_true_is_the_best_of_this_machine(encoder, info, expected):
    tokenizer = SceneTokenizer(encoder.config, encoder.checkpoint, optimize=True)
    assert tokenizer.model.options.precision in ('float32', 'bfloat16')
    tokens = tokenizer(None, info)
    assert tokens.shape == expected.shape and nearest(expected, tokens).median() < 0.05


@pytest.fixture
def int8():
    pytest.importorskip('onnxruntime')
    return dict(precision='int8')


def test_int8_on_training_frames(encoder, info, expected, int8):
    tokenizer = SceneTokenizer(encoder.config, encoder.checkpoint, optimize=int8)
    assert 'int8' in tokenizer.model.applied
    tokens = tokenizer(None, info)
    assert nearest(expected, tokens).median() < 0.1


def test_int8_on_given_frames(encoder, info, int8):
    files = [info['images'][name]['img_path'] for name in NUSCENES_CAMERAS]
    tokenizer = SceneTokenizer(encoder.config, encoder.checkpoint, optimize=int8, calibration=[(None, info),
                                                                                               (files, info)])
    assert tokenizer(None, info).isfinite().all()
    with pytest.raises(ValueError, match='calibrated on images and got none'):
        SceneTokenizer(encoder.config, encoder.checkpoint, optimize=int8, calibration=[])


def test_int8_without_training_frames(encoder, tmp_path, int8):
    cfg = Config.fromfile(str(encoder.config))
    cfg.train_dataloader.dataset.ann_file = str(Path(tmp_path, 'none.pkl'))
    with pytest.raises(ValueError, match=r'training frames.*cannot be read(.|\n)*calibration=\[\(images, cameras\)'):
        SceneTokenizer(cfg, encoder.checkpoint, optimize=int8)


def test_unknown_switch_is_told_before_the_model_is_loaded(encoder):
    with pytest.raises(ValueError, match="no switch 'half'; it knows precision"):
        SceneTokenizer(encoder.config, 'no_such_checkpoint.pth', optimize=dict(half=True))
