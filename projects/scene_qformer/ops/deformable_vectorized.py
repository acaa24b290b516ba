"""Deformable attention for CPUs: a weighted sum of L * P * 4 rows of a table, with PyTorch's kernels for just that.

The value is a table with a row for each (sample, cell, head), as it lies in memory. Each query and head is a bag of row
numbers and weights: the four cells around each point. ``embedding_bag`` adds the rows up without a copy of them in
between, and the backward pass has two such kernels: ``sampled_addmm`` for the weights, and for the table
``embedding_bag`` the other way round, the samples sorted by cell. mmcv's ``multi_scale_deformable_attn_pytorch`` calls
``grid_sample`` for each level and keeps all samples, ``(B, Q, heads, L * P, D)``. Its twin is
:func:`reference_deformable_attention`.
"""
from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .deformable_inputs import Shapes, check_deformable_inputs


def vectorized_deformable_attention(value: Tensor, spatial_shapes: Shapes, locations: Tensor,
                                    logits: Tensor) -> Tensor:
    """As :func:`reference_deformable_attention`. Differentiable once.

    An operator of ``torch.library``, ``scene_qformer::vectorized_deformable_attention``, which ``torch.compile`` takes
    as it is.

    Raises:
        ValueError: If the shapes do not fit each other, or the tensors are not on the CPU.
    """
    check_deformable_inputs(value, spatial_shapes, locations, logits)
    if value.device.type != 'cpu':
        raise ValueError(f'vectorized_deformable_attention is for tensors on the CPU, got {value.device}. On a GPU use '
                         'triton_deformable_attention.')
    return _attend(value, [side for shape in spatial_shapes for side in shape], locations, logits)[0]


_CORNERS = ', '.join(['Tensor'] * 7)


# Schemas, as PyTorch 2.4 and 2.5 cannot read these annotations
@torch.library.custom_op('scene_qformer::vectorized_deformable_attention', mutates_args=(),
                         schema='(Tensor value, SymInt[] sides, Tensor locations, Tensor logits) -> '
                                f'(Tensor, Tensor, {_CORNERS})')
def _attend(value: Tensor, sides: Sequence[int], locations: Tensor, logits: Tensor) -> tuple[Tensor, ...]:
    """The output, then what the backward pass would have to find again: the softmax and :class:`_Corners`."""
    batch_size, num_queries, num_heads = logits.shape[:3]
    dtype = torch.promote_types(value.dtype, torch.float32)
    weights = _softmax(logits.to(dtype).contiguous())
    bags = _find_corners(value, sides, locations, weights)
    if logits.numel():
        table = value.to(dtype).reshape(-1, value.shape[-1])
        out = F.embedding_bag(bags.index, table, mode='sum', per_sample_weights=bags.weight)
        out = out.view(batch_size, num_queries, -1).to(value.dtype)
    else:
        out = value.new_zeros(batch_size, num_queries, num_heads * value.shape[-1])
    return out, weights, *bags


@torch.library.custom_op('scene_qformer::vectorized_deformable_attention_backward', mutates_args=(),
                         schema='(Tensor grad, Tensor value, SymInt[] sides, Tensor locations, Tensor logits, '
                                'Tensor weights, Tensor[] corners) -> (Tensor, Tensor, Tensor)')
def _attend_backward(grad: Tensor, value: Tensor, sides: Sequence[int], locations: Tensor, logits: Tensor,
                     weights: Tensor, corners: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    if not logits.numel():
        return torch.zeros_like(value), torch.zeros_like(locations), torch.zeros_like(logits)
    bags, dtype = _Corners(*corners), weights.dtype
    batch_size, num_queries, num_heads, num_levels, num_points, _ = locations.shape
    table = value.to(dtype).reshape(-1, value.shape[-1])
    rows = grad.to(dtype).reshape(-1, value.shape[-1])  # one for each bag

    per_query = (batch_size * num_queries, num_heads * num_levels * num_points)
    read = _dot_pairs(rows, table, bags.index).view(*per_query, 2, 2)  # below, right
    (upper_left, upper_right), (lower_left, lower_right) = (half.unbind(-1) for half in read.unbind(-2))
    left, upper = bags.first
    right, lower = bags.second
    upper_read = left * upper_left + right * upper_right
    lower_read = left * lower_left + right * lower_right
    left_read = upper * upper_left + lower * lower_left
    right_read = upper * upper_right + lower * lower_right
    slopes = torch.stack((  # of the sample, along x and y
        right_read * bags.second_inside[0] - left_read * bags.first_inside[0],
        lower_read * bags.second_inside[1] - upper_read * bags.first_inside[1]))
    scale = _per_sample(sides, num_heads, num_points, dtype)[:, None]  # (2, 1, heads * L * P)
    grad_locations = (slopes * scale * weights.view(per_query)).movedim(0, -1).contiguous().view(locations.shape)
    grad_weights = (upper * upper_read + lower * lower_read).view_as(weights)
    grad_logits = weights * (grad_weights - (weights * grad_weights).sum(-1, keepdim=True))
    grad_value = _add_to_cells(rows, bags, sides, locations.shape, value.shape)
    return grad_value.to(value.dtype), grad_locations.to(locations.dtype), grad_logits.to(logits.dtype)


def _softmax(logits: Tensor) -> Tensor:
    """Over the last dimension. PyTorch's takes each row by itself: five times as long where rows are of four."""
    if logits.shape[-1] > 8:
        return logits.softmax(-1)
    powers = (logits - logits.amax(-1, keepdim=True)).exp_()
    return powers.div_(powers.sum(-1, keepdim=True))


class _Corners(NamedTuple):
    """The four cells around each sample. Samples are in the order of ``locations``, S = heads * L * P of a query."""

    index: Tensor  # (B * Q * heads, L * P * 4), rows of the table; somewhere in it where a cell is outside of the map
    weight: Tensor  # likewise; 0 there, and NaN where the place is
    first: Tensor  # (2, B * Q, S), shares of the left and of the upper cells; 0 outside, NaN where the place is
    second: Tensor  # likewise of the right and of the lower cells
    first_inside: Tensor  # likewise, bool
    second_inside: Tensor
    second_cell: Tensor  # (2, B * Q, S), column and row of the lower right cell, also outside


def _find_corners(value: Tensor, sides: Sequence[int], locations: Tensor, weights: Tensor) -> _Corners:
    """Every step is a pass over long rows: small dimensions are laid out in full, as broadcasting them is slow."""
    batch_size, num_keys, num_heads, _ = value.shape
    num_queries, (num_levels, num_points) = locations.shape[1], locations.shape[3:5]
    dtype, num_samples = weights.dtype, num_heads * num_levels * num_points
    index_dtype = _index_dtype(value)

    size = _per_sample(sides, num_heads, num_points, dtype)[:, None]  # (2, 1, S)
    place = torch.empty(2, batch_size * num_queries, num_samples, dtype=dtype)
    torch.mul(locations.to(dtype).reshape(batch_size * num_queries, num_samples, 2).movedim(-1, 0), size, out=place)
    place = torch.minimum(place.sub_(0.5).clamp_(min=-2), size)  # what is far outside stays outside
    cell = place.floor().nan_to_num_(nan=-2)  # a row number must be one; the shares stay NaN
    beyond = place.sub_(cell)
    first_cell = cell.clamp(min=0).minimum(size - 1)
    first_inside = cell == first_cell
    cell = cell + 1
    second_cell = cell.clamp(min=0).minimum(size - 1)
    second_inside = cell == second_cell
    first, second = torch.mul(1 - beyond, first_inside), torch.mul(beyond, second_inside)

    shape = (batch_size, num_queries, num_samples)
    start = _row_starts(sides, num_heads, num_points, index_dtype)  # (S,)
    start = start + torch.arange(batch_size, dtype=index_dtype)[:, None, None] * (num_keys * num_heads)  # (B, 1, S)
    row_length = size[0].to(index_dtype) * num_heads
    rows = [torch.addcmul(start, cells[1].to(index_dtype).view(shape), row_length)
            for cells in (first_cell, second_cell)]
    columns = [cells[0].to(index_dtype).view(shape).mul_(num_heads) for cells in (first_cell, second_cell)]
    index = torch.empty(*shape, 2, 2, dtype=index_dtype)
    weight = torch.empty(*shape, 2, 2, dtype=dtype)
    for down, share_y in enumerate((first[1], second[1])):
        weighted = weights.reshape(share_y.shape) * share_y
        for across, share_x in enumerate((first[0], second[0])):
            torch.add(rows[down], columns[across], out=index[..., down, across])
            torch.mul(weighted.view(shape), share_x.view(shape), out=weight[..., down, across])
    num_bags, per_bag = batch_size * num_queries * num_heads, num_levels * num_points
    return _Corners(index.view(num_bags, 4 * per_bag), weight.view(num_bags, 4 * per_bag), first, second, first_inside,
                    second_inside, cell)


def _index_dtype(value: Tensor) -> torch.dtype:
    """32 bits are faster; a map that is longer and wider by one has up to four times the cells."""
    batch_size, num_keys, num_heads, _ = value.shape
    return torch.int32 if batch_size * num_keys * num_heads < 2**29 else torch.int64


def _per_sample(sides: Sequence[int], num_heads: int, num_points: int, dtype: torch.dtype) -> Tensor:
    """Widths and heights ``(2, heads * L * P)`` of the level of each sample of a query."""
    sizes = torch.tensor((sides[1::2], sides[::2]), dtype=dtype)
    return sizes[:, None, :, None].expand(-1, num_heads, -1, num_points).flatten(1)


def _row_starts(sides: Sequence[int], num_heads: int, num_points: int, dtype: torch.dtype) -> Tensor:
    """The table's row of the first cell of the level and head of each sample of a query, ``(heads * L * P,)``."""
    sizes = torch.tensor(sides, dtype=dtype).view(-1, 2).prod(-1, dtype=dtype)
    starts = (sizes.cumsum(0, dtype=dtype) - sizes) * num_heads + torch.arange(num_heads, dtype=dtype)[:, None]
    return starts[..., None].expand(-1, -1, num_points).flatten()


def _dot_pairs(rows: Tensor, table: Tensor, index: Tensor) -> Tensor:
    """Each row with those rows of the table that its bag names: ``(bags, D), (rows, D), (bags, n) -> (bags * n,)``."""
    table = F.pad(table, (0, 0, 0, max(index.shape[1] - len(table), 0)))  # a sparse row is no longer than the table
    starts = torch.arange(0, index.numel() + 1, index.shape[1], dtype=index.dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Sparse CSR tensor support is in beta', UserWarning)
        pairs = torch.sparse_csr_tensor(starts, index.view(-1), rows.new_zeros(index.numel()),
                                        (len(rows), len(table)), check_invariants=False)
    return torch.sparse.sampled_addmm(pairs, rows, table.t(), beta=0., out=pairs).values()


def _add_to_cells(rows: Tensor, bags: _Corners, sides: Sequence[int], samples_shape: torch.Size,
                  value_shape: torch.Size) -> Tensor:
    """The value's gradient ``(B, K, heads, D)``, from rows ``(B * Q * heads, D)`` of the output's.

    Samples are sorted by the four cells around them: by the lower right one, of a map that is longer and wider by one.
    Those with the same four are one bag for each of its corners, and each corner's sums are a map, moved into place.
    """
    batch_size, num_keys, num_heads, width = value_shape
    num_levels, num_points = samples_shape[3:5]
    wider = [side + 1 for side in sides]
    index_dtype = bags.index.dtype
    size = _per_sample(sides, num_heads, num_points, bags.weight.dtype)[:, None]
    column, row = bags.second_cell.clamp(min=0).minimum(size).to(index_dtype).view(2, batch_size, -1, size.shape[-1])
    num_cells = sum(height * width for height, width in zip(wider[::2], wider[1::2]))
    start = torch.arange(batch_size, dtype=index_dtype)[:, None, None] * (num_cells * num_heads)
    start = start + _row_starts(wider, num_heads, num_points, index_dtype)
    row_length = (size[0].to(index_dtype) + 1) * num_heads
    place, sample = torch.addcmul(start, row, row_length).add_(column.mul_(num_heads)).flatten().sort()

    counts = torch.bincount(place, minlength=batch_size * num_cells * num_heads)
    starts = (counts.cumsum(0) - counts).to(index_dtype)
    bag = torch.div(sample, num_levels * num_points, rounding_mode='trunc').to(index_dtype)
    weight = bags.weight.view(-1, 4).index_select(0, sample)
    grad = rows.new_zeros(batch_size, num_keys, num_heads, width)
    for corner, (down, right) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        sums = F.embedding_bag(bag, rows, starts, mode='sum', per_sample_weights=weight[:, corner].contiguous())
        sums = sums.view(batch_size, num_cells, num_heads, width)
        cell, wider_cell = 0, 0
        for height, length in zip(sides[::2], sides[1::2]):
            wider_map = sums[:, wider_cell:wider_cell + (height + 1) * (length + 1)].unflatten(1, (height + 1, -1))
            moved = wider_map[:, 1 - down:1 - down + height, 1 - right:1 - right + length]
            grad[:, cell:cell + height * length].unflatten(1, (height, length)).add_(moved)
            cell, wider_cell = cell + height * length, wider_cell + (height + 1) * (length + 1)
    return grad


@_attend.register_fake
def _(value: Tensor, sides: Sequence[int], locations: Tensor, logits: Tensor) -> tuple[Tensor, ...]:
    batch_size, num_queries, num_heads, num_samples = logits.shape
    dtype = torch.promote_types(value.dtype, torch.float32)
    index_dtype = _index_dtype(value)
    per_bag = (batch_size * num_queries * num_heads, num_samples * 4)
    per_query = (2, batch_size * num_queries, num_heads * num_samples)
    return (value.new_empty(batch_size, num_queries, num_heads * value.shape[-1]),
            value.new_empty(logits.shape, dtype=dtype),
            value.new_empty(per_bag, dtype=index_dtype), value.new_empty(per_bag, dtype=dtype),
            *(value.new_empty(per_query, dtype=each) for each in (dtype, dtype, torch.bool, torch.bool, dtype)))


@_attend_backward.register_fake
def _(grad: Tensor, value: Tensor, sides: Sequence[int], locations: Tensor, logits: Tensor, weights: Tensor,
      corners: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    return (torch.empty_like(value, memory_format=torch.contiguous_format),
            torch.empty_like(locations, memory_format=torch.contiguous_format),
            torch.empty_like(logits, memory_format=torch.contiguous_format))


def _save(ctx, inputs: tuple, output: tuple[Tensor, ...]) -> None:
    value, ctx.sides, locations, logits = inputs
    ctx.save_for_backward(value, locations, logits, *output[1:])
    ctx.set_materialize_grads(False)  # only the first output has one


def _differentiate(ctx, grad: Tensor | None, *_: None) -> tuple[Tensor | None, None, Tensor | None, Tensor | None]:
    if grad is None:
        return None, None, None, None
    value, locations, logits, weights, *corners = ctx.saved_tensors
    grad_value, grad_locations, grad_logits = _attend_backward(grad, value, ctx.sides, locations, logits, weights,
                                                               corners)
    return grad_value, None, grad_locations, grad_logits


_attend.register_autograd(_differentiate, setup_context=_save)
