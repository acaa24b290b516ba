"""What a CUDA graph asks of the model: tensors in, tensors out, and no word of the host between them."""
import pytest
import torch
from small_models import build, images, relative_error, samples
from test_captured import Recorded
from torch.utils._python_dispatch import TorchDispatchMode

from scene_qformer.optimization import optimize_model
from scene_qformer.optimization.captured import CapturedFunction

# Numbers read back from a tensor, tensors made of Python's numbers, results whose size depends on values.
HOST = {'_local_scalar_dense', 'lift_fresh', 'nonzero', 'masked_select', 'equal', 'is_nonzero', 'unique'}


class HostWords(TorchDispatchMode):
    """Records the operators at which the host and a GPU would wait for each other."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.__name__.split('.')[0]
        if name in HOST:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def words(model, imgs):
    inputs = model._inputs(imgs, [sample.metainfo for sample in samples(imgs)])
    with torch.no_grad():
        model._encode(inputs)  # what is kept is made
        with HostWords() as host:
            model._encode(inputs)
    return host.found


@pytest.mark.parametrize('kind', ['learned, global', 'two levels', 'joint encoder'])
@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
def test_nothing_waits(kind, precision):
    assert words(optimize_model(build(kind), dict(precision=precision)), images()) == []


def test_what_waits_is_found():
    """These parts are not for graphs; docs/fast_inference.md lists them."""
    for kind in ('proposals, deformable', 'rays, no projector'):
        assert words(optimize_model(build(kind), dict(precision='float32')), images())


@pytest.mark.parametrize('kind', ['learned, global', 'proposals, deformable', 'rays, no projector'])
def test_recorded_equals_the_twin(kind):
    """Also with other images and matrices than those that were there when it was recorded."""
    twin = build(kind)
    fast = optimize_model(twin, dict(precision='float32'))
    fast._encode_static = CapturedFunction(fast._encode, Recorded)
    fast._decode_static = CapturedFunction(fast._decode, Recorded)
    Recorded.made = 0
    for seed, batch_size in ((1, 1), (2, 2), (3, 2), (4, 1)):
        imgs = images(batch_size, seed=seed)
        turned = samples(imgs)
        for sample in turned[seed % 2:]:
            sample.set_metainfo({name: sample.metainfo[name][::-1].copy() for name in ('lidar2img', 'lidar2cam')})
        with torch.no_grad():
            got, expected = (model(dict(imgs=imgs), turned, mode='tensor') for model in (fast, twin))
        assert relative_error(got, expected) < 1e-5
    assert Recorded.made == 2  # one for each batch size
    with torch.inference_mode():
        scores = [model(dict(imgs=imgs), samples(imgs), mode='predict')[0].pred_instances_3d.scores_3d
                  for model in (fast, twin)]
    torch.testing.assert_close(*scores, rtol=0, atol=1e-5)
