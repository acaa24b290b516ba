"""The way for CPUs equals its twin, forward and backward, and is an operator that torch.compile takes."""
import pytest
import torch
from deformable_cases import NOT_FINITE, SHAPES, check_place, largest_differences, make_inputs, run

from scene_qformer.ops import reference_deformable_attention, vectorized_deformable_attention


@pytest.mark.parametrize('case', SHAPES)
@pytest.mark.parametrize(('dtype', 'bound'), [(torch.float32, 2e-5), (torch.float64, 1e-12)])
def test_equals_its_twin(case, dtype, bound):
    arguments = make_inputs(*SHAPES[case], dtype=dtype)
    results = run(vectorized_deformable_attention, *arguments)
    assert max(largest_differences(results, run(reference_deformable_attention, *arguments))) < bound


@pytest.mark.parametrize(('dtype', 'bound'), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
def test_half_precision_is_computed_in_single(dtype, bound):
    """What differs is the rounding of the results: two units in the last place of half precision."""
    arguments = make_inputs(*SHAPES['three levels'], dtype=dtype)
    results = run(vectorized_deformable_attention, *arguments)
    exact = run(reference_deformable_attention, *(argument.double() if isinstance(argument, torch.Tensor) else argument
                                                  for argument in arguments))
    assert {result.dtype for result in results} == {dtype}
    assert max(largest_differences(results, exact)) < bound


@pytest.mark.parametrize('place', NOT_FINITE)
def test_nothing_is_at_infinity_and_nan_stays(place):
    check_place(vectorized_deformable_attention, make_inputs(*SHAPES['three levels']), 2, place)


def test_takes_strided_views():
    """As a model hands them over: a slice of a larger product, transposed heads."""
    value, shapes, locations, logits = make_inputs(*SHAPES['three levels'])
    strided = (value.transpose(1, 2).contiguous().transpose(1, 2), shapes,
               torch.cat((locations, locations), -1)[..., :2], torch.cat((logits, logits), -1)[..., :logits.shape[-1]])
    assert not strided[0].is_contiguous() and not strided[2].is_contiguous()
    twin = run(reference_deformable_attention, value, shapes, locations, logits)
    assert max(largest_differences(run(vectorized_deformable_attention, *strided), twin)) < 2e-5


def test_gradients_lie_as_is_promised():
    """Compiled code relies on the strides that the operator's fake gives."""
    value, shapes, locations, logits = make_inputs(*SHAPES['three levels'])
    sides = [side for shape in shapes for side in shape]
    grad = torch.randn(*logits.shape[:2], logits.shape[2] * value.shape[-1])
    _, weights, *corners = torch.ops.scene_qformer.vectorized_deformable_attention(value, sides, locations, logits)
    for result in torch.ops.scene_qformer.vectorized_deformable_attention_backward(grad, value, sides, locations,
                                                                                   logits, weights, corners):
        assert result.is_contiguous()


@pytest.mark.parametrize('case', ['three levels', 'no queries'])
def test_is_a_well_formed_operator(case):
    value, shapes, locations, logits = make_inputs(*SHAPES[case])
    sides = [side for shape in shapes for side in shape]
    arguments = (value.requires_grad_(), sides, locations.requires_grad_(), logits.requires_grad_())
    torch.library.opcheck(torch.ops.scene_qformer.vectorized_deformable_attention, arguments)


def test_compiles_without_a_break():
    arguments = make_inputs(*SHAPES['three levels'])
    compiled = torch.compile(vectorized_deformable_attention, fullgraph=True, backend='aot_eager')
    results = run(compiled, *arguments)
    assert max(largest_differences(results, run(vectorized_deformable_attention, *arguments))) == 0


def test_is_for_cpus():
    value, shapes, locations, logits = make_inputs(*SHAPES['one level'])
    with pytest.raises(ValueError, match='on the CPU, got meta.*triton_deformable_attention'):
        vectorized_deformable_attention(value.to('meta'), shapes, locations, logits)
