"""CUDA graphs on a machine without CUDA: the buffers, keys and copies, with a graph that computes at each replay."""
import pytest
import torch

from scene_qformer.optimization.captured import CapturedFunction


class Recorded:
    """Reads and writes always the same memory, as a CUDA graph does."""

    made = 0

    def __init__(self, function, inputs):
        type(self).made += 1
        self.function = function
        self.inputs = {name: tensor.clone() for name, tensor in inputs.items()}
        self.outputs = tuple(torch.full_like(output, float('nan')) for output in function(self.inputs))

    def replay(self):
        for kept, output in zip(self.outputs, self.function(self.inputs)):
            kept.copy_(output)


@pytest.fixture(autouse=True)
def count():
    Recorded.made = 0


def double(inputs):
    return tuple(2 * tensor for tensor in inputs.values())


def test_recorded_once_for_each_shape():
    captured = CapturedFunction(double, Recorded)
    for number in range(3):
        one, other = captured(dict(a=torch.full((2, 3), float(number)), b=torch.ones(1)))
        assert torch.equal(one, torch.full((2, 3), 2. * number)) and other == 2
    assert Recorded.made == 1
    captured(dict(a=torch.ones(3, 2), b=torch.ones(1)))
    captured(dict(a=torch.ones(3, 2), c=torch.ones(1)))  # other matrices are there
    captured(dict(a=torch.ones(3, 2).double(), c=torch.ones(1)))
    assert Recorded.made == 4


def test_results_stay_when_the_next_ones_come():
    captured = CapturedFunction(double, Recorded)
    first = captured(dict(a=torch.ones(3)))[0]
    captured(dict(a=torch.zeros(3)))
    assert torch.equal(first, torch.full((3, ), 2.))


def test_inputs_are_not_held():
    captured, given = CapturedFunction(double, Recorded), torch.ones(3)
    captured(dict(a=given))
    captured(dict(a=torch.zeros(3)))
    assert torch.equal(given, torch.ones(3))


def test_the_oldest_goes():
    captured = CapturedFunction(double, Recorded, max_graphs=2)
    for size in (1, 2, 3, 2, 3):
        captured(dict(a=torch.ones(size)))
    assert Recorded.made == 3
    captured(dict(a=torch.ones(1)))
    assert Recorded.made == 4


def test_inside_and_outside_inference_mode():
    captured = CapturedFunction(double, Recorded)
    with torch.inference_mode():
        captured(dict(a=torch.ones(3)))
    assert torch.equal(captured(dict(a=torch.zeros(3)))[0], torch.zeros(3))


def test_what_waits_for_the_host():
    def refuse(function, inputs):
        raise RuntimeError('called a synchronizing CUDA operation')

    with pytest.raises(RuntimeError, match="cannot be captured.*synchronizing.*capture='none'"):
        CapturedFunction(double, refuse)(dict(a=torch.ones(3)))
    captured = CapturedFunction(double, refuse, required=False)
    with pytest.warns(UserWarning, match='It runs without'):
        assert torch.equal(captured(dict(a=torch.ones(3)))[0], torch.full((3, ), 2.))
    assert torch.equal(captured(dict(a=torch.zeros(3)))[0], torch.zeros(3))  # and says so once
