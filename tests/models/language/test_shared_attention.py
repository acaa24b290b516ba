import pytest
import torch
import torch.nn.functional as F

from scene_qformer.models.language import shared_attention
from scene_qformer.models.language.shared_attention import SharedLayout, layout_as_mask, shared_scene_attention
from scene_qformer.models.language.shared_scene import separate_segments

THREE_AND_TWO = [[0, 0, 0, 1, 1, 2, 2, 2, 2, 3], [0, 0, 0, 1, 2, 2, -1, -1, -1, -1]]
LAYOUTS = dict(
    texts=THREE_AND_TWO,
    one_text=[[0, 1, 1, 1]],
    one_token_each=[[0, 0, 1, 2, 3]],
    nothing_after_the_prefix_of_one=[[0, 0, 1, 2], [0, 0, -1, -1]],
    unequal_prefixes=[[0, 0, 1, 1, 2], [0, 1, 1, 1, 1]],
    no_prefix=[[1, 1, 2], [1, 2, -1]],
    one_a_row=[[1, 1, 1], [1, -1, -1], [1, 1, -1]])


def test_layout_by_hand():
    layout = SharedLayout(torch.tensor(THREE_AND_TWO))
    assert layout.prefix == 3
    assert layout.places.tolist() == [[0, 1, 1, 1], [2, 3, 4, 5], [6, 6, 6, 6], [7, 7, 7, 7], [8, 9, 9, 9]]
    assert layout.real.sum(1).tolist() == [2, 4, 1, 1, 2]
    assert layout.origin.tolist() == [0, 1, 4, 5, 6, 7, 8, 12, 16, 17] + [0] * 4
    assert layout.padding.tolist() == [False] * 10 + [True] * 4


def test_folds_and_back():
    layout = SharedLayout(torch.tensor(THREE_AND_TWO))
    values = torch.arange(2. * 3 * 7 * 5).view(2, 3, 7, 5) + 1
    folded = layout.fold(values)
    assert folded.shape == (5, 3, 4, 5)
    assert torch.equal(folded[1], values[0, :, 2:6])
    back = layout.unfold(folded, padding=-7)
    assert torch.equal(back[0], values[0]) and torch.equal(back[1, :, :3], values[1, :, :3])
    assert (back[1, :, 3:] == -7).all()


@pytest.mark.parametrize('dtype,tolerance', [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize('groups', [1, 3])
@pytest.mark.parametrize('segments', LAYOUTS.values(), ids=LAYOUTS)
def test_as_pytorchs_under_the_mask(segments, groups, dtype, tolerance):
    """Outputs and all gradients, of every place that is not padding."""
    torch.manual_seed(11)
    segments = torch.tensor(segments)
    shape = (len(segments), segments.shape[1], 7)
    inputs = [torch.randn(shape[0], heads, *shape[1:]).to(dtype) for heads in (3, 3 // groups, 3 // groups)]
    real = (segments >= 0)[:, :, None, None]
    grad = torch.randn(shape[0], shape[1], 3, 7).to(dtype) * real
    layer = torch.nn.Module()
    layer.num_key_value_groups = groups
    ours, theirs = ([each.clone().requires_grad_() for each in inputs] for _ in range(2))
    out, weights = shared_scene_attention(layer, *ours, layout_as_mask(SharedLayout(segments), dtype), scaling=0.5)
    query, key, value = theirs
    twin = F.scaled_dot_product_attention(
        query.float(), *(each.repeat_interleave(groups, dim=1).float() for each in (key, value)),
        attn_mask=separate_segments(segments, torch.float32), scale=0.5).transpose(1, 2)
    assert weights is None and out.dtype == dtype
    torch.testing.assert_close(out.float() * real, twin * real, atol=tolerance, rtol=tolerance)
    out.backward(grad)
    twin.backward(grad.float())
    for mine, other in zip(ours, theirs):
        torch.testing.assert_close(mine.grad.float(), other.grad.float(), atol=tolerance, rtol=tolerance)


def test_large_logits_overflow_nowhere():
    """Places that stand in for a shorter text's weigh nothing, though their logits be far above all others."""
    mask = layout_as_mask(SharedLayout(torch.tensor([[0, 0, 1, 2, 2, 2]])), torch.float32)
    inputs = [torch.full((1, 1, 6, 3), 30.).requires_grad_() for _ in range(3)]
    with torch.no_grad():
        inputs[0][..., 2, :] *= -1
    out, _ = shared_scene_attention(torch.nn.Module(), *inputs, mask)
    out.sum().backward()
    assert all(each.grad.isfinite().all() for each in inputs)


def test_where_the_mask_is_the_way(monkeypatch):
    """With dropout, without a common prefix; and without a layout the mask that came."""
    def fail(*args):
        raise AssertionError('not here')

    monkeypatch.setattr(shared_attention._SharedAttention, 'apply', fail)
    inputs = [torch.randn(1, 2, 5, 3) for _ in range(3)]
    layer = torch.nn.Module()
    shared = layout_as_mask(SharedLayout(torch.tensor([[0, 0, 1, 1, 2]])), torch.float32)
    with pytest.raises(AssertionError, match='not here'):
        shared_scene_attention(layer, *inputs, shared)
    torch.manual_seed(3)
    dropped, _ = shared_scene_attention(layer, *inputs, shared, dropout=0.5)
    torch.manual_seed(3)
    mask = separate_segments(torch.tensor([[0, 0, 1, 1, 2]]), torch.float32)
    assert torch.equal(dropped, F.scaled_dot_product_attention(*inputs, mask, dropout_p=0.5).transpose(1, 2))
    given = torch.zeros(1, 1, 5, 5)
    given[..., range(5), range(5)] = -1e9
    out, _ = shared_scene_attention(layer, *inputs, given)
    assert torch.allclose(out, F.scaled_dot_product_attention(*inputs, attn_mask=given).transpose(1, 2))
