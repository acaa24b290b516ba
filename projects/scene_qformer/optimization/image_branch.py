"""Backbone and neck as one module: images in, feature levels out."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ImageBranch(nn.Module):
    """Backbone and neck; a stand-in for the backbone of a model whose neck is then None.

    Args:
        backbone: ``(M, 3, H, W)`` to levels.
        neck: Levels to levels, or None.
    """

    def __init__(self, backbone: nn.Module, neck: nn.Module | None) -> None:
        super().__init__()
        self.backbone, self.neck = backbone, neck

    def forward(self, imgs: Tensor) -> Sequence[Tensor]:
        """``(M, 3, H, W)`` float32 to levels ``(M, C, Hl, Wl)``, in the dtype of the weights."""
        feats = self.backbone(imgs.to(next(self.parameters()).dtype))
        return feats if self.neck is None else self.neck(feats)


def as_channels_last(branch: nn.Module) -> nn.Module:
    """Weights in the layout ``(H, W, C)``; convolutions then also give their result in it, and need no reordering.

    The memory that the decoder reads, ``(B, K, C)``, is then a view of the last level.
    """
    return branch.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
