import math

import pytest
import torch
from torch import nn

from scene_qformer.evaluation.gradients import by_part, gradient_norms, to_markdown


class Model(nn.Module):

    def __init__(self):
        super().__init__()
        self.head = nn.ModuleDict(dict(
            used=nn.Linear(2, 1), unused=nn.Linear(2, 1), frozen=nn.Linear(2, 1), silent=nn.Linear(2, 1)))
        self.broken = nn.Parameter(torch.zeros(1))
        with torch.no_grad():
            self.head.used.weight.copy_(torch.tensor([[3., 4.]]))
            self.head.used.bias.zero_()
        self.head.frozen.requires_grad_(False)

    def forward(self, x):
        return self.head['used'](x) + 0 * self.head['silent'](x) + self.head['frozen'](x) + self.broken / 0.


@pytest.fixture
def norms():
    model = Model()
    model(torch.tensor([[5., 12.]])).backward()
    return gradient_norms(model)


def test_norms_and_flags_by_hand(norms):
    used = {norm.name: norm for norm in norms}['head.used.weight']
    assert (used.num_weights, used.weight_norm, used.grad_norm, used.flags) == (2, 5., 13., {})
    assert used.ratio == pytest.approx(13 / 5)
    assert {norm.name: list(norm.flags) for norm in norms} == {
        'head.used.weight': [], 'head.used.bias': [], 'head.unused.weight': ['none'], 'head.unused.bias': ['none'],
        'head.frozen.weight': ['frozen'], 'head.frozen.bias': ['frozen'], 'head.silent.weight': ['zero'],
        'head.silent.bias': ['zero'], 'broken': ['not finite']}


def test_parts_take_their_parameters_together(norms):
    broken, head = by_part(norms)
    assert (broken.name, broken.flags) == ('broken', {'not finite': 1})
    assert head.flags == {'none': 2, 'zero': 2, 'frozen': 2}
    assert head.grad_norm == pytest.approx(math.hypot(13, 1))
    assert head.num_weights == 4 * 3
    assert [part.name for part in by_part(norms, depth=2)] == [
        'broken', 'head.used', 'head.unused', 'head.frozen', 'head.silent']


def test_frozen_parameters_do_not_count(norms):
    model = Model()
    model(torch.tensor([[5., 12.]])).backward()
    model.head['used'].weight.requires_grad_(False)  # with an old gradient
    part = by_part(gradient_norms(model), depth=2)[1]
    assert part.grad_norm == 1 and part.flags == {'frozen': 1}


def test_table(norms):
    table = to_markdown(by_part(norms, depth=2))
    assert '| head.used | 3 | 5 | 13 | 2.61e+00 |  |' in table
    assert '| broken | 1 | 0 | inf | - | 1 not finite |' in table
