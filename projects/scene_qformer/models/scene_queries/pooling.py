"""Image features in short: each camera's map pooled to a small grid, or all cameras to one vector."""
from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..camera_mask import CAMERA_MASK


def pool_cameras(feat: Tensor, grid: tuple[int, int]) -> Tensor:
    """Average every camera's features over the cells of a grid.

    Args:
        feat: ``(B, N, C, Hl, Wl)``.
        grid: Rows and columns ``(R, S)``.

    Returns:
        ``(B, N, R*S, C)``, row by row.
    """
    pooled = F.adaptive_avg_pool2d(feat.flatten(0, 1), grid)  # (B*N, C, R, S)
    return pooled.unflatten(0, feat.shape[:2]).flatten(3).transpose(2, 3)


def mean_of_cameras(feat: Tensor, cameras: dict[str, Tensor]) -> Tensor:
    """Average over all cells of all cameras that are there.

    Args:
        feat: ``(B, N, C, Hl, Wl)``.
        cameras: With ``camera_mask`` ``(B, N)`` bool, where cameras are missing.

    Returns:
        ``(B, 1, C)``.
    """
    means = pool_cameras(feat, (1, 1))  # (B, N, 1, C)
    camera_mask = cameras.get(CAMERA_MASK)
    if camera_mask is None:
        return means.mean(1)
    there = camera_mask[..., None, None].to(means.dtype)
    return (means * there).sum(1) / there.sum(1)
