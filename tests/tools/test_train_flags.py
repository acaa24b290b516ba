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
    (False, dict(type='AmpOptimWrapper', dtype='bfloat16', loss_scale=64.), dict(type='BFloat16OptimWrapper')),
    (False, dict(type='BFloat16OptimWrapper'), dict(type='BFloat16OptimWrapper')),
])
def test_only_float16_has_a_loss_scaler(monkeypatch, fast, given, expected):
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    monkeypatch.setattr('tools.train.bfloat16_is_fast', lambda: fast)
    assert with_amp(**given) == expected


@pytest.mark.parametrize('given', [
    dict(type='AmpOptimWrapper', dtype='float16', loss_scale='dynamic'), dict(type='AmpOptimWrapper', use_fsdp=True)])
def test_a_cpu_takes_no_scaler(monkeypatch, given):
    """AmpOptimWrapper refuses CPUs; what only it knows is left out."""
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    optimizer = dict(type='SGD', lr=0.1)
    assert with_amp(optimizer=optimizer, **given) == dict(type='BFloat16OptimWrapper', optimizer=optimizer)


def test_what_amp_does_not_know_is_refused():
    with pytest.raises(ValueError, match="of type 'OptimWrapper', not 'ZeroOptimWrapper'"):
        with_amp(type='ZeroOptimWrapper')


@pytest.mark.parametrize(('strategy', 'sync_bn', 'hooks', 'message'), [
    (dict(type='ZeroStrategy'), 'torch', None, 'do not synchronise batch norms'),
    (dict(type='ZeroStrategy'), 'none', [dict(type='EMAHook')], 'EMAHook keeps averaged weights'),
    (dict(type='ZeroStrategy'), 'none', [dict(type='Other')], None),
    (dict(type='ShardedStrategy'), 'torch', [dict(type='EMAHook')], None),
    (None, 'torch', [dict(type='EMAHook')], None),
])
def test_what_deepspeed_lacks_is_refused_before_training(strategy, sync_bn, hooks, message):
    args = SimpleNamespace(amp=False, sync_bn=sync_bn, auto_scale_lr=False, resume=None)
    cfg = Config(dict(optim_wrapper=dict(optimizer=dict(type='SGD')), strategy=strategy, custom_hooks=hooks))
    if message is None:
        apply_flags(cfg, args)
        assert sync_bn == 'none' or (cfg.strategy or cfg).sync_bn == sync_bn
        return
    with pytest.raises(ValueError, match=message):
        apply_flags(cfg, args)


@pytest.mark.parametrize('fast', [True, False])
def test_a_cpu_that_emulates_bfloat16_is_told(monkeypatch, capsys, fast):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    monkeypatch.setattr('tools.train.bfloat16_is_fast', lambda: fast)
    assert with_amp(type='OptimWrapper').type == 'BFloat16OptimWrapper'
    assert ('without --amp it is about twice as fast' in capsys.readouterr().out) == (not fast)
