"""Batch norm folded into the convolutions before it."""
from __future__ import annotations

import copy

import torch
from mmcv.cnn.utils import fuse_conv_bn
from torch import Tensor, nn

PROBE_SIZE = 64  # pixels: the coarsest level of a stride of 32 still has 2x2 cells
FOLDING_BOUND = 1e-3  # of the largest number: float32 over a hundred layers, far below what a wrong fold does


def fold_batch_norm(branch: nn.Module) -> nn.Module:
    """Fold every batch norm that follows a convolution, by mmcv's ``fuse_conv_bn``.

    In evaluation mode ``BN(W x + b) = (g W) x + g (b - mean) + beta`` with ``g = gamma / sqrt(var + eps)``: one
    convolution. mmcv pairs modules in the order in which they were registered, which is not always that in which they
    are called, and knows nothing of batch norms that also hold an activation (timm's ``BatchNormAct2d``). Therefore the
    result is compared with the twin on a random image, and given up where it differs.

    Args:
        branch: ``(M, 3, H, W)`` to a sequence of feature levels, in evaluation mode, float32.

    Returns:
        A folded copy, or ``branch`` itself where there is nothing to fold or folding would change the result.

    Raises:
        RuntimeError: If the branch is in training mode, where statistics are of the batch.
    """
    if branch.training:
        raise RuntimeError('Batch norm can be folded in evaluation mode only: call model.eval() first.')
    if count_batch_norms(branch) == 0:
        return branch
    folded = fuse_conv_bn(copy.deepcopy(branch))
    first = next(branch.parameters())
    image = torch.randn(1, 3, PROBE_SIZE, PROBE_SIZE, generator=torch.Generator().manual_seed(0))
    return folded if same_levels(branch, folded, image.to(first.device, first.dtype)) else branch


def count_batch_norms(module: nn.Module) -> int:
    """Batch norms that are not folded."""
    return sum(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())


@torch.no_grad()
def same_levels(one: nn.Module, other: nn.Module, images: Tensor) -> bool:
    """Whether two branches give the same levels, up to rounding."""
    for expected, got in zip(one(images), other(images), strict=True):
        if not torch.allclose(expected, got, rtol=0, atol=FOLDING_BOUND * float(expected.abs().max())):
            return False
    return True
