"""The Triton kernels equal their twins. Run by ``test_deformable_triton.py``, in a process of its own.

On CPU tensors, in Triton's interpreter, with ``TRITON_INTERPRET=1``; without it on a GPU, in which case the operators
are captured in a CUDA graph, too.
"""
import os

import pytest
import torch
from deformable_cases import (
    NOT_FINITE,
    SHAPES,
    check_place,
    largest_differences,
    make_inputs,
    make_surround_inputs,
    run,
)
from torch import nn

from scene_qformer.models import SurroundDeformableAttention
from scene_qformer.ops import (
    reference_deformable_attention,
    reference_surround_attention,
    triton_deformable_attention,
    triton_surround_attention,
)

DEVICE = 'cpu' if os.environ.get('TRITON_INTERPRET') == '1' else 'cuda'
DTYPES = [(torch.float32, 2e-5), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)]
# cameras, then as in SHAPES
SURROUND_SHAPES = {
    'three cameras': (3, 2, 7, ((5, 7), (3, 2)), 2, 5, 1),
    'two cameras': (2, 1, 5, ((3, 2), ), 2, 3, 3),
    'one camera': (1, 1, 5, ((5, 7), ), 1, 8, 4),
    'empty batch': (3, 0, 7, ((5, 7), ), 2, 3, 2),
    'no queries': (3, 1, 0, ((5, 7), ), 2, 3, 2),
}


def to_device(arguments):
    return [argument.to(DEVICE) if isinstance(argument, torch.Tensor) else argument for argument in arguments]


def exact(arguments):
    return [argument.double() if isinstance(argument, torch.Tensor) and argument.is_floating_point() else argument
            for argument in arguments]


def differences(results, twin, arguments):
    """From the twin in float64, of the result and of every gradient."""
    return largest_differences([result.cpu() for result in results], run(twin, *exact(arguments)))


def compare(kernel, twin, arguments):
    return differences(run(kernel, *to_device(arguments)), twin, arguments)


@pytest.mark.parametrize('case', SHAPES)
def test_equals_its_twin(case):
    assert max(compare(triton_deformable_attention, reference_deformable_attention, make_inputs(*SHAPES[case]))) < 2e-5


@pytest.mark.parametrize('case', SURROUND_SHAPES)
def test_surround_equals_its_twin(case):
    arguments = make_surround_inputs(*SURROUND_SHAPES[case])
    assert max(compare(triton_surround_attention, reference_surround_attention, arguments)) < 2e-5


@pytest.mark.parametrize(('dtype', 'bound'), DTYPES[1:])
def test_half_precision_is_computed_in_single(dtype, bound):
    arguments = make_inputs(*SHAPES['one level'], dtype=dtype)
    results = run(triton_deformable_attention, *to_device(arguments))
    assert {result.dtype for result in results} == {dtype}
    assert max(differences(results, reference_deformable_attention, arguments)) < bound


@pytest.mark.parametrize(('dtype', 'bound'), DTYPES[1:])
def test_surround_in_half_precision(dtype, bound):
    """The projections stay in float32, as the model gives them, and so does their gradient."""
    arguments = make_surround_inputs(*SURROUND_SHAPES['two cameras'], dtype=dtype)
    results = run(triton_surround_attention, *to_device(arguments))
    assert [result.dtype for result in results] == [dtype, dtype, torch.float32, dtype, dtype]
    assert max(differences(results, reference_surround_attention, arguments)) < bound


def test_sums_are_kept_in_single_precision():
    """60 equal samples add up to 1 only if the sum is not rounded to 8 bits on the way."""
    num_samples = 60
    value = torch.ones(1, 1, 1, 1, dtype=torch.bfloat16)
    locations = torch.full((1, 1, 1, 1, num_samples, 2), 0.5, dtype=torch.bfloat16)
    logits = torch.zeros(1, 1, 1, num_samples, dtype=torch.bfloat16)
    out, grad_value, *_ = run(triton_deformable_attention, *to_device((value, ((1, 1), ), locations, logits)))
    assert abs(out.item() - 1) <= 2**-8  # the interpreter cuts to bfloat16, GPUs round
    assert abs(grad_value.item() + 1) <= 2**-8
    rounded = torch.zeros(1, dtype=torch.bfloat16)
    for _ in range(num_samples):
        rounded += 1 / num_samples
    assert abs(rounded.item() - 1) > 2**-7  # so the bound tells the two apart


@pytest.mark.parametrize('place', NOT_FINITE[2:5])
def test_nothing_is_at_infinity_and_nan_stays(place):
    check_place(triton_deformable_attention, to_device(make_inputs(1, 2, ((3, 2), (2, 1)), 2, 3, 1)), 2, place)


@pytest.mark.parametrize('place', NOT_FINITE[2:4])
def test_surround_likewise(place):
    arguments = make_surround_inputs(2, 1, 2, ((3, 2), (2, 1)), 2, 3, 1)
    arguments[3][-1, :, -1] = torch.tensor([True, False])
    check_place(triton_surround_attention, to_device(arguments), 4, place)


def test_nobody_is_visible():
    value, shapes, projections, visible, offsets, logits = make_surround_inputs(*SURROUND_SHAPES['three cameras'])
    arguments = to_device((value, shapes, projections, torch.zeros_like(visible), offsets, logits))
    assert not any(result.any() for result in run(triton_surround_attention, *arguments))


def test_takes_strided_views():
    value, shapes, locations, logits = make_inputs(1, 3, ((3, 2), (2, 1)), 2, 3, 2)
    strided = (value.transpose(1, 2).contiguous().transpose(1, 2), shapes,
               torch.cat((locations, locations), -1)[..., :2], torch.cat((logits, logits), -1)[..., :logits.shape[-1]])
    assert max(compare(triton_deformable_attention, reference_deformable_attention, strided)) < 2e-5


@pytest.mark.parametrize('with_cameras', [False, True])
def test_is_a_well_formed_operator(with_cameras):
    if with_cameras:
        value, shapes, projections, visible, places, logits = to_device(
            make_surround_inputs(2, 1, 3, ((3, 2), (2, 1)), 2, 3, 2))
    else:
        value, shapes, places, logits = to_device(make_inputs(1, 3, ((3, 2), (2, 1)), 2, 3, 2))
        value, projections, visible = value[:, None].contiguous(), None, None
    sides = [side for shape in shapes for side in shape]
    floating = [None if tensor is None else tensor.requires_grad_() for tensor in (value, places, logits, projections)]
    torch.library.opcheck(torch.ops.scene_qformer.deformable_attention,
                          (floating[0], sides, *floating[1:], visible))


def test_compiles_without_a_break():
    arguments = to_device(make_inputs(*SHAPES['one level']))
    compiled = torch.compile(triton_deformable_attention, fullgraph=True, backend='aot_eager')
    results = run(compiled, *arguments)
    assert max(largest_differences(results, run(triton_deformable_attention, *arguments))) < 1e-6


def test_a_level_too_large_for_its_offsets_is_refused():
    value = torch.zeros(1, 1, 1, 1).expand(1, 2**21, 1, 1024)
    with pytest.raises(ValueError, match=r'A level of 2097152 cells x 1 heads x 1024 channels.*2\*\*31'):
        triton_deformable_attention(value.to(DEVICE), ((2**21, 1), ), torch.zeros(1, 0, 1, 1, 1, 2, device=DEVICE),
                                    torch.zeros(1, 0, 1, 1, device=DEVICE))


@pytest.mark.parametrize('operator', ['TritonSampling', 'DefaultSampling'])
def test_attention_class_by_its_kernels(operator):
    """As configured: output and gradients are as by the twin. The Triton kernels need no shapes on the device."""
    lidar2img = torch.tensor([[7., 10, 0, 0], [5, 0, -10, 0], [1, 0, 0, 0], [0, 0, 0, 1]])  # looks along x
    cameras = dict(lidar2img=torch.stack((lidar2img, -lidar2img))[None].to(DEVICE),
                   image_size=torch.tensor([14., 10.], device=DEVICE))
    tensors = torch.randn(1, 23, 8), torch.randn(1, 70, 8), torch.rand(1, 23, 3)

    def results_of(operator, shapes):
        torch.manual_seed(0)
        attention = SurroundDeformableAttention(8, num_heads=2, num_points=1, operator=dict(type=operator)).to(DEVICE)
        nn.init.normal_(attention.sampling_offsets.weight)
        nn.init.normal_(attention.attention_weights.weight)

        def attend(query, value, points):
            return attention(query, value, points, shapes, torch.tensor([0, 35], device=shapes.device), cameras,
                             level_shapes=((5, 7), ))

        return run(attend, *to_device(tensors)) + [parameter.grad for parameter in attention.parameters()]

    shapes = torch.tensor([[5, 7], [5, 7]])
    expected = results_of('ReferenceSampling', shapes.to('meta'))
    results = results_of(operator, shapes.to('meta' if operator == 'TritonSampling' else DEVICE))
    assert max(largest_differences(results, expected)) < 2e-5
    assert expected[2].any() and expected[3].any()  # something was seen


@pytest.mark.skipif(DEVICE == 'cpu', reason='captures a CUDA graph')
def test_cuda_graph_replays_and_nothing_waits():
    value, shapes, locations, logits = to_device(make_inputs(*SHAPES['three levels']))
    leaves = [tensor.requires_grad_() for tensor in (value, locations, logits)]

    def step():
        out = triton_deformable_attention(value, shapes, locations, logits)
        return out, torch.autograd.grad(out.sum(), leaves)

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        step()  # compiles
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    torch.cuda.set_sync_debug_mode('error')
    try:
        with torch.cuda.graph(graph):
            out, grads = step()
    finally:
        torch.cuda.set_sync_debug_mode('default')
    with torch.no_grad():
        value.mul_(2)
    graph.replay()
    expected_out, expected_grads = step()
    assert torch.allclose(out, expected_out, atol=1e-5)
    for grad, expected in zip(grads, expected_grads):
        assert torch.allclose(grad, expected, atol=1e-4)
