import torch
from mmengine.registry import OPTIM_WRAPPERS

from scene_qformer.engine import BFloat16OptimWrapper


def test_forward_is_half_and_weights_are_whole():
    model = torch.nn.Linear(3, 5)
    before = model.weight.detach().clone()
    wrapper = OPTIM_WRAPPERS.build(
        dict(type='BFloat16OptimWrapper', optimizer=torch.optim.SGD(model.parameters(), lr=0.5)))
    assert isinstance(wrapper, BFloat16OptimWrapper)
    with wrapper.optim_context(model):
        out = model(torch.ones(2, 3))
    assert out.dtype is torch.bfloat16
    wrapper.update_params(out.float().sum())
    assert model.weight.dtype is torch.float32
    assert torch.allclose(model.weight, before - 0.5 * 2)  # d sum / d weight = 2 rows of ones
