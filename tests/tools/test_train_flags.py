"""What the flags of tools/train.py make of a config."""
from types import SimpleNamespace

import pytest
from mmengine.config import Config

from tools.train import apply_flags


@pytest.mark.parametrize(('fast', 'given', 'dtype', 'loss_scale'), [
    (True, {}, 'bfloat16', dict(enabled=False)),  # the range of float32: a scaler would hide what is not finite
    (False, {}, None, 'dynamic'),
    (True, dict(dtype='float16'), 'float16', 'dynamic'),
    (True, dict(loss_scale=64.), 'bfloat16', 64.),
])
def test_only_float16_has_a_loss_scaler(monkeypatch, fast, given, dtype, loss_scale):
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    monkeypatch.setattr('torch.cuda.is_bf16_supported', lambda including_emulation: fast)
    cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper', **given)))
    flags = SimpleNamespace(amp=True, sync_bn='none', auto_scale_lr=False, resume=None)
    wrapper = apply_flags(cfg, flags).optim_wrapper
    assert wrapper.type == 'AmpOptimWrapper' and wrapper.get('dtype') == dtype and wrapper.loss_scale == loss_scale


@pytest.mark.parametrize('fast', [True, False])
def test_a_cpu_that_emulates_bfloat16_is_told(monkeypatch, capsys, fast):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    monkeypatch.setattr('tools.train.cpu_multiplies_bfloat16', lambda: fast)
    cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper')))
    flags = SimpleNamespace(amp=True, sync_bn='none', auto_scale_lr=False, resume=None)
    assert apply_flags(cfg, flags).optim_wrapper.type == 'BFloat16OptimWrapper'
    assert ('without --amp it is about twice as fast' in capsys.readouterr().out) == (not fast)
