"""Image features in short: each camera's map pooled to a small grid."""
from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


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
