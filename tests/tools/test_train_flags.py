"""What the flags of tools/train.py make of a config."""
from types import SimpleNamespace

import pytest
from mmengine.config import Config

from tools.train import apply_flags


def with_amp(**optim_wrapper):
    cfg = Config(dict(optim_wrapper=optim_wrapper))
    return apply_flags(cfg, SimpleNamespace(amp=True, sync_bn='none', auto_scale_lr=False, resume=None)).optim_wrapper


@pytest.mark.parametrize(('fast', 'given', 'expected'), [
    # the range of float32: a scaler would hide gradients that are not finite
    (True, dict(type='OptimWrapper'), dict(type='BFloat16OptimWrapper')),
    (False, dict(type='OptimWrapper'), dict(type='AmpOptimWrapper', loss_scale='dynamic')),
    (True, dict(type='AmpOptimWrapper', dtype='float16'),
     dict(type='AmpOptimWrapper', dtype='float16', loss_scale='dynamic')),
    (True, dict(type='AmpOptimWrapper', loss_scale=64.), dict(type='AmpOptimWrapper', loss_scale=64.)),
])
def test_only_float16_has_a_loss_scaler(monkeypatch, fast, given, expected):
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    monkeypatch.setattr('tools.train.bfloat16_is_fast', lambda: fast)
    assert with_amp(**given) == expected


@pytest.mark.parametrize('fast', [True, False])
def test_a_cpu_that_emulates_bfloat16_is_told(monkeypatch, capsys, fast):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    monkeypatch.setattr('tools.train.bfloat16_is_fast', lambda: fast)
    assert with_amp(type='OptimWrapper').type == 'BFloat16OptimWrapper'
    assert ('without --amp it is about twice as fast' in capsys.readouterr().out) == (not fast)
