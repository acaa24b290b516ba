import pytest
import torch

from scene_qformer.optimization import InferenceOptions
from scene_qformer.optimization.options import cpu_multiplies_bfloat16

CPU, CUDA = torch.device('cpu'), torch.device('cuda:0')


def test_off_on_and_some_switches():
    assert InferenceOptions.read(None) is None and InferenceOptions.read(False) is None
    assert InferenceOptions.read(True) == InferenceOptions()
    options = InferenceOptions.read(dict(precision='float32', merge_keys_values=False))
    assert (options.precision, options.merge_keys_values, options.capture) == ('float32', False, 'auto')
    assert InferenceOptions.read(options) is options


@pytest.mark.parametrize(('given', 'message'), [
    (dict(precison='int8'), "no switch 'precison'; it knows precision, fold_batch_norm"),
    (dict(precision='fp16'), "knows the precision auto, float32, .* got 'fp16'"),
    (dict(capture='jit'), "knows the capture auto, none, cuda_graph, compile, got 'jit'"),
    (dict(channels_last='yes'), "True or False for channels_last, got 'yes'"),
    ('int8', "True, False or a dict of switches, got 'int8'"),
])
def test_what_is_not_known(given, message):
    with pytest.raises(ValueError, match=message):
        InferenceOptions.read(given)


def test_auto_on_each_device(monkeypatch):
    assert InferenceOptions().resolve(CPU).capture == 'none'
    assert InferenceOptions().resolve(CPU).precision == ('bfloat16' if cpu_multiplies_bfloat16() else 'float32')
    options = InferenceOptions().resolve(CUDA)
    assert (options.precision, options.capture, options.dtype) == ('bfloat16', 'auto', torch.bfloat16)
    monkeypatch.setattr('scene_qformer.optimization.options.cpu_multiplies_bfloat16', lambda: False)
    assert InferenceOptions().resolve(CPU).dtype is torch.float32
    assert InferenceOptions(precision='int8').resolve(CPU).dtype is torch.float32


@pytest.mark.parametrize(('options', 'device', 'message'), [
    (dict(precision='float16'), CPU, "'float16' needs a CUDA device.*'bfloat16'"),
    (dict(precision='int8'), CUDA, "'int8' is for the CPU"),
    (dict(capture='cuda_graph'), CPU, "needs a CUDA device, got cpu: use 'none' or 'compile'"),
])
def test_what_a_device_cannot_do(options, device, message):
    with pytest.raises(ValueError, match=message):
        InferenceOptions(**options).resolve(device)
