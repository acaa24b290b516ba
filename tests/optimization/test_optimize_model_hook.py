from types import SimpleNamespace

import pytest
from small_models import build

from scene_qformer.optimization import FastSceneQFormer, OptimizeModelHook


def runner(model):
    return SimpleNamespace(model=model, logger=SimpleNamespace(info=lambda text: None))


def test_fast_during_the_test_alone():
    model = build()
    run, hook = runner(model), OptimizeModelHook(dict(precision='float32'))
    hook.before_test(run)
    assert isinstance(run.model, FastSceneQFormer)
    hook.after_test(run)
    assert run.model is model


def test_off():
    model = build()
    run, hook = runner(model), OptimizeModelHook(False)
    hook.before_test(run)
    hook.after_test(run)
    assert run.model is model


def test_unknown_switch_is_told_before_the_test():
    with pytest.raises(ValueError, match="no switch 'dtype'"):
        OptimizeModelHook(dict(dtype='int8'))
