"""Feature maps of one stride from those of another."""
from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def pad_to_multiple(imgs: Tensor, divisor: int) -> Tensor:
    """Zeros at the right and at the bottom, until height and width divide by ``divisor``; pixels keep their places."""
    height, width = imgs.shape[-2:]
    return F.pad(imgs, (0, -width % divisor, 0, -height % divisor))


def resample_to_stride(feat: Tensor, stride: int, out_stride: int, image_size: tuple[int, int]) -> Tensor:
    """Bring a feature map to another stride.

    Cell (i, j) of a stride-s map is centred at pixel ((j + 0.5) s, (i + 0.5) s), before and after. A stride that is k
    times the map's is reached by averaging k x k cells. Otherwise the map is first averaged by the largest whole k that
    does not pass the wanted stride, so that no cell goes unread, and then read bilinearly at the wanted centres::

        patch  8 -> stride 16    average 2 x 2
        patch 14 -> stride 16    bilinear: 24 x 24 cells of an image of 336 become 21 x 21
        patch 14 -> stride 32    average 2 x 2 (stride 28), then bilinear
        patch 16 -> stride  8    bilinear

    Args:
        feat: ``(B, C, h, w)``, from the upper left corner of the image on; may reach beyond its other borders.
        stride: Its stride in pixels.
        out_stride: The wanted stride.
        image_size: Height and width of the image in pixels.

    Returns:
        ``(B, C, ceil(H / out_stride), ceil(W / out_stride))``. At the right and lower
        border cells that reach beyond the map hold what there is of it.
    """
    out_size = [math.ceil(length / out_stride) for length in image_size]
    factor = out_stride // stride
    if factor > 1:
        feat = F.avg_pool2d(feat, factor, ceil_mode=True, count_include_pad=False)
        stride = stride * factor
    if stride == out_stride:
        return feat[..., :out_size[0], :out_size[1]]
    # in grid_sample's coordinates -1 is the outer border of the first cell, 1 that of the last
    rows, columns = ((torch.arange(length, device=feat.device) + 0.5) * (2 * out_stride / (stride * cells)) - 1
                     for length, cells in zip(out_size, feat.shape[-2:]))
    y, x = torch.meshgrid(rows, columns, indexing='ij')
    exact = torch.promote_types(feat.dtype, torch.float32)  # places in bfloat16 would be off by a part of a cell
    grid = torch.stack((x, y), dim=-1).to(exact).expand(len(feat), -1, -1, -1)
    out = F.grid_sample(feat.to(exact), grid, mode='bilinear', padding_mode='border', align_corners=False)
    return out.to(feat.dtype)
