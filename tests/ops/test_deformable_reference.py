"""The readable twin: by hand, against mmcv's operator, and against numeric derivatives."""
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
from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

from scene_qformer.ops import reference_deformable_attention, reference_surround_attention


def mmcv_attention(value, spatial_shapes, locations, logits):
    weights = logits.softmax(-1).view(locations.shape[:-1])
    return multi_scale_deformable_attn_pytorch(value, torch.tensor(spatial_shapes), locations, weights)


@pytest.mark.parametrize('case', [name for name in SHAPES if name not in ('empty batch', 'no queries')])
def test_equals_mmcv_forward_and_backward(case):
    arguments = make_inputs(*SHAPES[case], dtype=torch.float64)
    results = run(reference_deformable_attention, *arguments)
    assert max(largest_differences(results, run(mmcv_attention, *arguments))) < 1e-9


@pytest.mark.parametrize('case', ['empty batch', 'no queries'])
def test_of_nothing_comes_nothing(case):
    arguments = make_inputs(*SHAPES[case])
    out, grad_value, *_ = run(reference_deformable_attention, *arguments)
    assert out.shape == (*arguments[3].shape[:2], 6)
    assert not grad_value.any()


def test_by_hand():
    """A row of two cells, 10 and 30; two points, the second with three quarters of the weight."""
    value = torch.tensor([10., 30.]).view(1, 2, 1, 1)
    locations = torch.tensor([[0.5, 0.5], [1.0, 0.5]]).view(1, 1, 1, 1, 2, 2)
    logits = torch.tensor([0., 3.]).log().clamp(min=0).view(1, 1, 1, 2)  # weights 1 : 3
    # between the centres: 20; at the right edge half of the second cell, and half of nothing: 15
    assert reference_deformable_attention(value, ((1, 2), ), locations, logits).item() == pytest.approx(
        0.25 * 20 + 0.75 * 15)


def test_derivatives_are_right():
    value, shapes, locations, logits = make_inputs(2, 3, ((3, 5), (2, 1)), 2, 2, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda *tensors: reference_deformable_attention(tensors[0], shapes, *tensors[1:]),
        [value.requires_grad_(), locations.clamp(-1, 2).requires_grad_(), logits.requires_grad_()])


@pytest.mark.parametrize('place', NOT_FINITE)
def test_nothing_is_at_infinity_and_nan_stays(place):
    check_place(reference_deformable_attention, make_inputs(*SHAPES['three levels']), 2, place)


@pytest.mark.parametrize('place', NOT_FINITE)
def test_surround_likewise(place):
    arguments = make_surround_inputs(3, 2, 7, ((5, 7), (3, 2)), 2, 3, 2)
    arguments[3][-1, :, -1] = torch.tensor([True, False, True])
    check_place(reference_surround_attention, arguments, 4, place)


def test_surround_adds_up_the_cameras_that_see():
    """Camera by camera, query by query, with places turned into fractions by hand."""
    value, shapes, projections, visible, offsets, logits = make_surround_inputs(3, 2, 7, ((5, 7), (3, 2)), 2, 3, 2)
    out = reference_surround_attention(value, shapes, projections, visible, offsets, logits)
    for sample in range(2):
        for query in range(7):
            expected = torch.zeros(6)
            for camera in range(3):
                if visible[sample, camera, query]:
                    locations = offsets[sample, query].clone()
                    locations[:, 0] /= torch.tensor([7., 5.])  # width, height
                    locations[:, 1] /= torch.tensor([2., 3.])
                    locations += projections[sample, camera, query]
                    expected += reference_deformable_attention(value[sample, camera][None], shapes,
                                                               locations[None, None],
                                                               logits[sample, query][None, None])[0, 0]
            assert torch.allclose(out[sample, query], expected, atol=1e-6)
    assert {0, 1, 2} <= set(visible.sum(1).flatten().tolist())  # the case is a real one


def test_says_what_does_not_fit():
    value, shapes, locations, logits = make_inputs(2, 3, ((5, 7), (3, 2)), 2, 3, 2)
    with pytest.raises(ValueError, match='Python integers.*got a tensor.*tolist'):
        reference_deformable_attention(value, torch.tensor(shapes), locations, logits)
    with pytest.raises(ValueError, match='have 35 cells, but value has 41'):
        reference_deformable_attention(value, shapes[:1], locations, logits)
    with pytest.raises(ValueError, match='2 spatial_shapes, but samples.*L must be their number'):
        reference_deformable_attention(value, shapes, locations[:, :, :, :1], logits)
    with pytest.raises(ValueError, match='batch and heads must agree'):
        reference_deformable_attention(value[:, :, :1], shapes, locations, logits)
    with pytest.raises(ValueError, match=r'Expected logits \(B, Q, heads, L \* P\) \(2, 3, 2, 4\), got'):
        reference_deformable_attention(value, shapes, locations, logits[..., :3])
    with pytest.raises(ValueError, match=r'Expected value \(B, K, heads, D\)'):
        reference_deformable_attention(value[:, None], shapes, locations, logits)


def test_surround_says_what_does_not_fit():
    value, shapes, *rest = make_surround_inputs(3, 2, 7, ((5, 7), ), 2, 3, 2)
    projections, visible, offsets, logits = rest
    with pytest.raises(ValueError, match=r'Expected projections \(B, N, Q, 2\) \(2, 3, 7, 2\) and visible'):
        reference_surround_attention(value, shapes, projections, visible[:, :2], offsets, logits)
    with pytest.raises(ValueError, match=r'Expected value \(B, N, K, heads, D\)'):
        reference_surround_attention(value[:, 0], shapes, *rest)
    with pytest.raises(ValueError, match='batch and heads must agree'):
        reference_surround_attention(value[:1], shapes, *rest)
