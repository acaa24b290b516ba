"""Weights in half precision, for parts that run under autocast."""
from __future__ import annotations

import torch
from torch import nn

from ..models.camera_reference_points import CameraReferencePoints

# It switches autocast off and computes in float32: half precision would miss by pixels.
FLOAT32_PARTS = (CameraReferencePoints, )
MATRIX_PARTS = (nn.Linear, nn.Conv2d, nn.MultiheadAttention)


def cast_matrices(module: nn.Module, dtype: torch.dtype) -> None:
    """Cast the weights of products of matrices once, in place, so that autocast has nothing to cast at each call.

    Norms keep float32, as do sums along the residual path, 3D points and whatever else autocast leaves alone.

    Args:
        module: Part of a model.
        dtype: ``bfloat16`` or ``float16``.
    """
    if isinstance(module, FLOAT32_PARTS):
        return
    if isinstance(module, MATRIX_PARTS):
        module.to(dtype)
        return
    for child in module.children():
        cast_matrices(child, dtype)
