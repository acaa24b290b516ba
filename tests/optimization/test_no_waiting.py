"""What a CUDA graph asks of the model: tensors in, tensors out, and no word of the host between them."""
import pytest
import torch
from small_models import KINDS, build, images, relative_error, samples
from test_captured import Recorded
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from scene_qformer.optimization import optimize_model
from scene_qformer.optimization.captured import CapturedFunction, CudaGraph

# Numbers read back from a tensor, tensors made of Python's numbers, results whose size depends on values.
HOST = {'_linalg_check_errors', '_local_scalar_dense', '_unique2', 'allclose', 'equal', 'lift_fresh', 'masked_select',
        'nonzero', 'unique_consecutive', 'unique_dim', 'unique_dim_consecutive'}
WAITING = {'proposals, global, refined', 'proposals, deformable', 'rays, no projector'}  # docs/fast_inference.md: why


class HostWords(TorchDispatchMode):
    """Records the operators at which the host and a GPU would wait for each other."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.__name__.split('.')[0]
        if name in HOST or name.startswith('index') and any(
                isinstance(index, Tensor) and index.dtype == torch.bool for index in args[1]):
            self.found.append(name)
        elif func is torch.ops.aten.fill_.Tensor and self.found[-1:] == ['lift_fresh']:
            self.found.pop()  # x[...] = number: on CUDA, too, the number stays on the CPU, and the fill is told it
        return func(*args, **(kwargs or {}))


def words(model, imgs):
    inputs = model._inputs(imgs, [sample.metainfo for sample in samples(imgs)])
    with torch.no_grad():
        model._encode(inputs)  # what is kept is made
        with HostWords() as host:
            model._encode(inputs)
    return host.found


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
def test_which_of_them_wait(kind, precision):
    found = words(optimize_model(build(kind), dict(precision=precision)), images())
    assert bool(found) == (kind in WAITING), found


@pytest.mark.parametrize('wait', [
    lambda x: x.max().item(), torch.unique, lambda x: x.unique(dim=0), torch.unique_consecutive, torch.nonzero,
    lambda x: x[x > 0], lambda x: x.clone().index_put_((x > 0, ), x[0]), lambda x: torch.equal(x, x),
    lambda x: torch.linalg.inv(x.diag()), lambda x: torch.allclose(x, x), lambda x: x.masked_select(x > 0),
    lambda x: torch.tensor([1., 2.])])
def test_what_waits_is_found(wait):
    with HostWords() as host:
        wait(torch.arange(1., 4))
    assert host.found


def test_a_number_written_into_a_slice_does_not_wait():
    with HostWords() as host:
        torch.zeros(3, 3, dtype=torch.bool)[:2, :2] = True
    assert host.found == []


on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='CUDA graphs need a CUDA device')


@pytest.mark.parametrize(('graph', 'device'), [(Recorded, 'cpu'),
                                               pytest.param(CudaGraph, 'cuda', marks=on_a_gpu)])
@pytest.mark.parametrize('kind', KINDS)
def test_recorded_equals_the_twin(kind, graph, device, monkeypatch):
    """Also with other images and matrices than those that were there when it was recorded."""
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    twin = build(kind).to(device)
    fast = optimize_model(twin, dict(precision='float32'))
    fast._encode_static = CapturedFunction(fast._encode, graph)
    fast._decode_static = CapturedFunction(fast._decode, graph)
    if graph is CudaGraph and kind in WAITING:
        imgs = images().to(device)
        with torch.no_grad(), pytest.raises(RuntimeError, match='cannot be captured'):
            fast(dict(imgs=imgs), samples(imgs), mode='tensor')
        return
    Recorded.made = 0
    for seed, batch_size in ((1, 1), (2, 2), (3, 2), (4, 1)):
        imgs = images(batch_size, seed=seed).to(device)
        turned = samples(imgs)
        for sample in turned[seed % 2:]:
            sample.set_metainfo({name: sample.metainfo[name][::-1].copy() for name in ('lidar2img', 'lidar2cam')})
        with torch.no_grad():
            got, expected = (model(dict(imgs=imgs), turned, mode='tensor') for model in (fast, twin))
        assert relative_error(got, expected) < 1e-5
    assert len(fast._encode_static._graphs) == 2  # one for each batch size
    assert Recorded.made == (2 if graph is Recorded else 0)
    with torch.inference_mode():
        scores = [model(dict(imgs=imgs), samples(imgs), mode='predict')[0].pred_instances_3d.scores_3d
                  for model in (fast, twin)]
    torch.testing.assert_close(*scores, rtol=0, atol=1e-5)
