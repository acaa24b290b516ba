"""The image branch in INT8: near its twin on all sizes, and calibrated on what it is given."""
import builtins
import copy

import pytest
import torch
from small_models import build, images, relative_error

from scene_qformer.optimization.batch_norm import fold_batch_norm
from scene_qformer.optimization.image_branch import ImageBranch
from scene_qformer.optimization.int8_branch import Int8ImageBranch, products_saturate

LEVEL_BOUND = 0.2  # twice what random weights in such narrow channels (4 to 32) gave; real networks round less


@pytest.fixture(scope='module')
def branch():
    model = build('two levels')
    return fold_batch_norm(ImageBranch(model.backbone, model.neck).eval())


@pytest.fixture(scope='module')
def int8(branch):
    pytest.importorskip('onnxruntime')
    return Int8ImageBranch(branch, [images(1, 3, seed=seed)[0] for seed in range(2, 5)])


@pytest.mark.parametrize(('number', 'height', 'width'), [(1, 48, 80), (2, 37, 53), (5, 64, 96)])
@torch.no_grad()
def test_near_its_twin(branch, int8, number, height, width):
    imgs = images(1, number, height, width)[0]
    levels = int8(imgs)
    for expected, got in zip(branch(imgs), levels, strict=True):
        assert got.shape == expected.shape and got.dtype == torch.float32
        assert 1e-4 < relative_error(got, expected) < LEVEL_BOUND  # it is rounded, but not more


def test_weights_take_a_quarter(branch, int8):
    floats = sum(parameter.numel() for parameter in branch.parameters())
    assert int8.num_bytes < 4 * floats


@torch.no_grad()
def test_calibration_decides_the_range(branch):
    """Calibrated on dim images, bright ones are cut off."""
    imgs = images(1, 2)[0]
    expected = branch(imgs)[0]
    dim = Int8ImageBranch(branch, [0.1 * imgs])(imgs)[0]
    assert relative_error(dim, expected) > 1.5 * LEVEL_BOUND


@torch.no_grad()
def test_7_bits_where_sums_are_cut_off(branch, int8, monkeypatch):
    imgs = images(1, 2)[0]
    largest = {}
    for saturate in (False, True):
        monkeypatch.setattr('scene_qformer.optimization.int8_branch.products_saturate', lambda answer=saturate: answer)
        ranges = spy_on_weights(monkeypatch)
        reduced = Int8ImageBranch(branch, [imgs])
        largest[saturate] = max(ranges)
        for expected, got in zip(branch(imgs), reduced(imgs), strict=True):
            assert relative_error(got, expected) < LEVEL_BOUND
    assert 64 < largest[False] <= 127 and 32 < largest[True] <= 64


def spy_on_weights(monkeypatch):
    """The largest number of each quantised weight of the networks that are written from now on."""
    import onnx
    import onnxruntime
    real, ranges = onnxruntime.InferenceSession, []

    def session(model, *args, **kwargs):
        if isinstance(model, bytes):
            ranges.extend(int(abs(onnx.numpy_helper.to_array(weight).astype(int)).max())
                          for weight in onnx.load_from_string(model).graph.initializer
                          if weight.data_type == onnx.TensorProto.INT8 and len(weight.dims) == 4)
        return real(model, *args, **kwargs)

    monkeypatch.setattr(onnxruntime, 'InferenceSession', session)
    return ranges


@pytest.mark.parametrize(('machine', 'flags', 'saturate'), [
    ('x86_64', 'flags\t\t: fpu avx2 avx512f avx512_vnni amx_int8', False),
    ('x86_64', 'flags\t\t: fpu avx2 avx_vnni', False),
    ('x86_64', 'flags\t\t: fpu avx2 avx512f', True),
    ('AMD64', None, True),  # Windows: not known
    ('aarch64', 'Features\t: fp asimd', False),
    ('arm64', None, False),
])
def test_which_processors_cut_sums_off(machine, flags, saturate, tmp_path, monkeypatch):
    monkeypatch.setattr('platform.machine', lambda: machine)
    cpuinfo = tmp_path / 'cpuinfo'
    if flags is not None:
        cpuinfo.write_text(f'processor\t: 0\n{flags}\nvmx flags\t: vnmi avx_vnni\n')
    assert products_saturate(cpuinfo) is saturate


def test_twin_is_as_it_was(branch):
    before = copy.deepcopy(branch.state_dict())
    Int8ImageBranch(branch, [images()[0]])
    assert all(torch.equal(value, before[name]) for name, value in branch.state_dict().items())


def test_no_images(branch):
    with pytest.raises(ValueError, match='calibrated on images and got none.*`calibration`'):
        Int8ImageBranch(branch, [])


def test_without_onnxruntime(branch, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == 'onnxruntime':
            raise ModuleNotFoundError('No module', name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', without)
    with pytest.raises(ModuleNotFoundError, match="needs onnxruntime, which is not installed.*extra 'int8'"):
        Int8ImageBranch(branch, [images()[0]])
