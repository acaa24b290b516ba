"""Deformable attention, as readable as it gets: what the fast ways are compared with.

::

    out[b, q, h] = sum over l, p of softmax(logits[b, q, h])[l, p] * value_l[b, h](locations[b, q, h, l, p])

where ``value_l(x, y)`` interpolates level l (Deformable DETR, Zhu et al., arXiv 2010.04159, eq. 3). The centre of cell
(i, j) of an H x W map lies at x = (j + 0.5) / W, y = (i + 0.5) / H, and cells outside of the map are zero: the rule of
``grid_sample(mode='bilinear', padding_mode='zeros', align_corners=False)`` and of mmcv's operators. A place at infinity
is outside, too. One that is not a number makes the result NaN, wherever it would lie: a run that diverged must show.
"""
from __future__ import annotations

import torch
from torch import Tensor

from .deformable_inputs import Shapes, check_deformable_inputs, check_surround_inputs


def reference_deformable_attention(value: Tensor, spatial_shapes: Shapes, locations: Tensor, logits: Tensor) -> Tensor:
    """Sample and weight.

    Args:
        value: ``(B, K, heads, D)``, level by level, row by row. float64 is computed in float64, all else in float32.
        spatial_shapes: L pairs (Hl, Wl) of Python integers; K = sum of Hl*Wl.
        locations: ``(B, Q, heads, L, P, 2)``, x and y as fractions of the level's width and height.
        logits: ``(B, Q, heads, L * P)``; their softmax weights the samples.

    Returns:
        ``(B, Q, heads * D)`` in the dtype of ``value``.

    Raises:
        ValueError: If the shapes do not fit each other.
    """
    check_deformable_inputs(value, spatial_shapes, locations, logits)
    dtype = torch.promote_types(value.dtype, torch.float32)
    batch_size, num_queries, num_heads, num_levels, num_points, _ = locations.shape
    weights = logits.to(dtype).softmax(-1).unflatten(-1, (num_levels, num_points))
    samples = torch.arange(batch_size, device=value.device)[:, None, None, None]
    heads = torch.arange(num_heads, device=value.device)[:, None]

    total = value.new_zeros(batch_size, num_queries, num_heads, value.shape[-1], dtype=dtype)
    levels = value.to(dtype).split([height * width for height, width in spatial_shapes], dim=1)
    for level, (height, width) in enumerate(spatial_shapes):
        cells = levels[level].unflatten(1, (height, width))  # (B, H, W, heads, D)
        scale = place_scale(value, width, height)
        place = locations[:, :, :, level].to(dtype) * scale - 0.5  # cells from the first
        place = place.clamp(min=-2).minimum(scale)  # still outside, but finite; NaN stays
        first = place.floor()
        beyond = place - first  # (B, Q, heads, P, 2), how far from the upper left of four cells to the lower right
        for right in (0, 1):
            for down in (0, 1):
                column, row = first[..., 0] + right, first[..., 1] + down
                inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
                share_x = beyond[..., 0] if right else 1 - beyond[..., 0]
                share_y = beyond[..., 1] if down else 1 - beyond[..., 1]
                picked = cells[samples, row.where(inside, 0).long(), column.where(inside, 0).long(), heads]
                share = weights[:, :, :, level] * share_x * share_y  # (B, Q, heads, P)
                total = total + (share[..., None] * picked.where(inside[..., None], 0)).sum(3)
    return total.flatten(2).to(value.dtype)


def reference_surround_attention(value: Tensor, spatial_shapes: Shapes, projections: Tensor, visible: Tensor,
                                 offsets: Tensor, logits: Tensor) -> Tensor:
    """Deformable attention around the projections of points into N cameras, added up over those that see them.

    Args:
        value: ``(B, N, K, heads, D)``, camera by camera.
        spatial_shapes: L pairs (Hl, Wl) of Python integers, the same in every camera; K = sum of Hl*Wl.
        projections: ``(B, N, Q, 2)``, where each query's point appears, as fractions of the image's width and height.
        visible: ``(B, N, Q)`` bool; other pairs of camera and query contribute nothing.
        offsets: ``(B, Q, heads, L, P, 2)``, of the samples from the projection, in cells of the level.
        logits: ``(B, Q, heads, L * P)``.

    Returns:
        ``(B, Q, heads * D)`` in the dtype of ``value``.

    Raises:
        ValueError: If the shapes do not fit each other.
    """
    check_surround_inputs(value, spatial_shapes, projections, visible, offsets, logits)
    dtype = torch.promote_types(value.dtype, torch.float32)
    scale = torch.stack([place_scale(value, width, height) for height, width in spatial_shapes])[:, None]  # (L, 1, 2)
    total = value.new_zeros(*logits.shape[:2], value.shape[3] * value.shape[4], dtype=dtype)
    for camera in range(value.shape[1]):
        places = projections[:, camera].to(dtype)[:, :, None, None, None] + offsets.to(dtype) / scale
        seen = reference_deformable_attention(value[:, camera].to(dtype), spatial_shapes, places, logits)
        total = total + seen.where(visible[:, camera, :, None], 0)
    return total.to(value.dtype)


def place_scale(value: Tensor, width: int, height: int) -> Tensor:
    """``(2,)``, from fractions to cells."""
    return torch.tensor((width, height), device=value.device, dtype=torch.promote_types(value.dtype, torch.float32))
