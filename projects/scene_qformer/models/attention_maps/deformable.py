"""Weights of deformable attention: each sample is given to the four cells between which it was interpolated."""
from __future__ import annotations

from typing import Any

import torch
from mmcv.ops import MultiScaleDeformableAttention
from torch import Tensor

from ..camera_mask import CAMERA_MASK
from ..surround_deformable_attention import SurroundDeformableAttention
from .weights import attention_weights


@attention_weights.register(MultiScaleDeformableAttention)
def _(module: MultiScaleDeformableAttention, inputs: dict[str, Any], queries: Tensor) -> Tensor:
    query, shapes, mask = _query(module, inputs, queries), inputs['spatial_shapes'], inputs.get('key_padding_mask')
    per_head = (*query.shape[:2], module.num_heads, module.num_levels, module.num_points)
    offsets = module.sampling_offsets(query).view(*per_head, 2)
    weights = module.attention_weights(query).view(*per_head[:3], -1).softmax(-1).view(per_head)
    points = inputs['reference_points'][:, queries, None, :, None].to(offsets.dtype)  # (B, q, 1, L, 1, 2 or 4)
    if points.shape[-1] == 2:
        locations = points + offsets / shapes.flip(-1)[:, None]  # offsets count cells
    else:  # boxes: offsets count halves of their size, as in mmcv
        locations = points[..., :2] + offsets / module.num_points * points[..., 2:] * 0.5
    return splat_samples(locations, weights, shapes, mask)


@attention_weights.register(SurroundDeformableAttention)
def _(module: SurroundDeformableAttention, inputs: dict[str, Any], queries: Tensor) -> Tensor:
    query, shapes, mask = _query(module, inputs, queries), inputs['spatial_shapes'], inputs.get('key_padding_mask')
    per_head = (*query.shape[:2], module.num_heads, module.num_levels, module.num_points)
    offsets = module.sampling_offsets(query).view(*per_head, 2) / shapes[:module.num_levels].flip(-1)[:, None]
    weights = module.attention_weights(query).view(*per_head[:3], -1).softmax(-1).view(per_head)
    projections, visible = module.project_reference_points(
        inputs['reference_points'][:, queries], inputs['cameras']['lidar2img'], inputs['cameras']['image_size'],
        inputs['cameras'].get(CAMERA_MASK))

    # Cameras that see the point share equally: (B, N, q) -> (B, q, 1, N, 1, 1), beside levels and points.
    share = (visible / visible.sum(1, keepdim=True).clamp(min=1)).transpose(1, 2)[:, :, None, :, None, None]
    projections = projections.transpose(1, 2)[:, :, None, :, None, None]  # (B, q, 1, N, 1, 1, 2)
    locations = (projections + offsets[:, :, :, None]).flatten(3, 4)  # (B, q, heads, N*L, P, 2)
    weights = (weights[:, :, :, None] * share).flatten(3, 4)
    return splat_samples(locations, weights, shapes, mask)


def _query(module: MultiScaleDeformableAttention | SurroundDeformableAttention, inputs: dict[str, Any],
           queries: Tensor) -> Tensor:
    """The chosen queries with their position, ``(B, q, C)``, in the dtype of the module's weights."""
    query = inputs['query']
    if inputs.get('query_pos') is not None:
        query = query + inputs['query_pos']
    if not getattr(module, 'batch_first', True):
        query = query.transpose(0, 1)
    return query[:, queries].to(module.sampling_offsets.weight.dtype)


def splat_samples(locations: Tensor, weights: Tensor, spatial_shapes: Tensor,
                  key_padding_mask: Tensor | None = None) -> Tensor:
    """Turn samples into weights of cells, such that these read what the samples read.

    The counterpart of ``grid_sample(mode='bilinear', padding_mode='zeros', align_corners=False)``: a cell's centre lies
    at (j + 0.5, i + 0.5), a sample's weight goes to the four centres around it, and what goes outside is lost.

    Args:
        locations: ``(B, q, heads, L, P, 2)``, x and y as fractions of the level's width and height.
        weights: ``(B, q, heads, L, P)``.
        spatial_shapes: ``(L, 2)`` int64, (Hl, Wl).
        key_padding_mask: ``(B, K)`` bool, True at cells that read as zero and therefore get nothing.

    Returns:
        ``(B, heads, q, K)``, K = sum of Hl*Wl.
    """
    maps = []
    for level, (height, width) in enumerate(spatial_shapes.tolist()):
        place = locations[:, :, :, level] * locations.new_tensor((width, height)) - 0.5  # counted from a centre
        first = place.floor()
        cells = weights.new_zeros(*weights.shape[:3], height * width)
        for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
            cell = first + first.new_tensor(corner)  # (B, q, heads, P, 2)
            column, row = cell.unbind(-1)
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            given = weights[:, :, :, level] * (1 - (place - cell).abs()).prod(-1)
            index = (row * width + column).where(inside, 0).long()
            cells.scatter_add_(-1, index, given.where(inside, 0))
        maps.append(cells)
    result = torch.cat(maps, dim=-1).transpose(1, 2)
    return result if key_padding_mask is None else result.masked_fill(key_padding_mask[:, None, None], 0)
