from types import SimpleNamespace

import pytest
import torch
from small_models import build, relative_error
from torch import nn

from scene_qformer.optimization import FastSceneQFormer, OptimizeModelHook
from scene_qformer.token_extraction import build_split, load_encoder
from tests.small_encoder import make_small_encoder


def runner(model, cfg=None):
    return SimpleNamespace(model=model, cfg=cfg, logger=SimpleNamespace(info=lambda text: None))


def test_fast_during_the_test_alone():
    model = build()
    run, hook = runner(model), OptimizeModelHook(dict(precision='float32'))
    hook.before_test(run)
    assert isinstance(run.model, FastSceneQFormer)
    hook.after_test(run)
    assert run.model is model


def test_a_wrapped_model_is_taken_out():
    """As on several GPUs, where the wrapper passes the modes of a model on."""
    wrapped = nn.DataParallel(build())
    run, hook = runner(wrapped), OptimizeModelHook(dict(precision='float32'))
    hook.before_test(run)
    assert isinstance(run.model, FastSceneQFormer)
    hook.after_test(run)
    assert run.model is wrapped


def test_int8_is_calibrated_on_the_configs_training_frames(tmp_path):
    pytest.importorskip('onnxruntime')
    encoder = make_small_encoder(tmp_path)
    model = load_encoder(encoder.cfg, encoder.checkpoint)
    run = runner(model, encoder.cfg)
    OptimizeModelHook(dict(precision='int8')).before_test(run)
    assert 'int8' in run.model.applied
    images = model.data_preprocessor(dict(inputs=dict(img=[build_split(encoder.cfg, 'val')[1]['inputs']['img']]),
                                          data_samples=None), training=False)['inputs']['imgs']
    with torch.no_grad():
        for got, expected in zip(run.model.extract_feat(images), model.extract_feat(images), strict=True):
            assert 1e-5 < relative_error(got, expected) < 0.1


def test_off():
    model = build()
    run, hook = runner(model), OptimizeModelHook(False)
    hook.before_test(run)
    hook.after_test(run)
    assert run.model is model


def test_unknown_switch_is_told_before_the_test():
    with pytest.raises(ValueError, match="no switch 'dtype'"):
        OptimizeModelHook(dict(dtype='int8'))
