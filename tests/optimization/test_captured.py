"""CUDA graphs on a machine without CUDA: the buffers, keys and copies, with a graph that computes at each replay."""
import warnings

import pytest
import torch

from scene_qformer.optimization.captured import CapturedFunction, check_replay


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


def test_what_was_not_used_for_longest_goes():
    captured = CapturedFunction(double, Recorded, max_graphs=2)
    for size, made in ((1, 1), (2, 2), (1, 2), (3, 3), (1, 3), (2, 4), (1, 4), (3, 5)):
        assert captured(dict(a=torch.ones(size)))[0].shape == (size, )
        assert Recorded.made == made


def test_inside_and_outside_inference_mode():
    captured = CapturedFunction(double, Recorded)
    with torch.inference_mode():
        captured(dict(a=torch.ones(3)))
    assert torch.equal(captured(dict(a=torch.zeros(3)))[0], torch.zeros(3))


def refuse_threes(function, inputs):
    if len(inputs['a']) == 3:
        raise RuntimeError('called a synchronizing CUDA operation')
    return Recorded(function, inputs)


def test_what_waits_for_the_host():
    with pytest.raises(RuntimeError, match="cannot be captured.*synchronizing.*capture='none'"):
        CapturedFunction(double, refuse_threes)(dict(a=torch.ones(3)))
    captured = CapturedFunction(double, refuse_threes, required=False)
    with pytest.warns(UserWarning, match='For these shapes it runs without'):
        assert torch.equal(captured(dict(a=torch.ones(3)))[0], torch.full((3, ), 2.))
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # it says so once
        assert torch.equal(captured(dict(a=torch.zeros(3)))[0], torch.zeros(3))


def test_other_shapes_are_recorded_all_the_same():
    captured = CapturedFunction(double, refuse_threes, required=False)
    for made in (1, 1):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            captured(dict(a=torch.ones(3)))
        assert torch.equal(captured(dict(a=torch.ones(5)))[0], torch.full((5, ), 2.))
        assert Recorded.made == made


@pytest.mark.parametrize('required', [True, False])
def test_too_little_memory_is_told_as_it_is(required):
    attempts = []

    def graph(function, inputs):
        attempts.append(inputs)
        if len(attempts) == 1:
            raise torch.cuda.OutOfMemoryError('CUDA out of memory')
        return Recorded(function, inputs)

    captured = CapturedFunction(double, graph, required=required)
    with pytest.raises(torch.cuda.OutOfMemoryError, match='^CUDA out of memory$'):
        captured(dict(a=torch.ones(3)))
    assert captured(dict(a=torch.ones(3)))[0].sum() == 6 and Recorded.made == 1  # nothing was refused for ever


@pytest.mark.parametrize('required', [True, False])
def test_an_error_of_the_function_is_told_as_it_is(required):
    with pytest.raises(RuntimeError, match='^The size of tensor a'):
        CapturedFunction(lambda inputs: (inputs['a'] + inputs['b'], ), Recorded, required=required)(
            dict(a=torch.ones(3), b=torch.ones(2)))


class Empty(Recorded):
    """What it should have recorded ran beside it: the outputs are right at first, and a replay does nothing."""

    def __init__(self, function, inputs):
        super().__init__(function, inputs)
        super().replay()

    def replay(self):
        pass


class Infinite(Recorded):
    def replay(self):
        self.outputs[0].fill_(float('inf'))


@pytest.mark.parametrize('graph', [Empty, Infinite])
def test_what_replays_something_else_is_refused(graph):
    inputs = dict(a=torch.ones(3))
    with pytest.raises(RuntimeError, match='cannot be captured.*its replay differs'):
        CapturedFunction(double, graph)(inputs)
    with pytest.warns(UserWarning, match='its replay differs.*runs without'):
        assert torch.equal(CapturedFunction(double, graph, required=False)(inputs)[0], torch.full((3, ), 2.))


def test_a_replay_may_round_otherwise_but_not_more():
    inputs = dict(a=torch.linspace(1, 7, 5))
    check_replay(Recorded(double, inputs), (2.01 * inputs['a'], ))
    with pytest.raises(RuntimeError, match='differs'):
        check_replay(Recorded(double, inputs), (2.1 * inputs['a'], ))
