"""A neck that brings a feature pyramid to one level."""
from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn


@MODELS.register_module()
class SingleLevelFPN(BaseModule):
    """Top-down feature pyramid (Lin et al., FPN, arXiv 1612.03144) of which only the finest level is computed.

    mmdet's ``FPN`` also convolves the coarser outputs; with one level in use those weights would never get a
    gradient, which distributed training rejects.

    Args:
        in_channels: Channels of the backbone's levels, finest first.
        out_channels: Channels C of the output level.
        norm_cfg: Normalisation of the convolutions; None for none, as in mmdet's FPN.
        init_cfg: mmengine's initialisation config.
    """

    def __init__(self,
                 in_channels: Sequence[int],
                 out_channels: int = 256,
                 norm_cfg: dict | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg or dict(type='Xavier', layer='Conv2d', distribution='uniform'))
        self.in_channels = tuple(in_channels)
        self.lateral_convs = nn.ModuleList(
            ConvModule(channels, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None) for channels in in_channels)
        self.out_conv = ConvModule(out_channels, out_channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=None)

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor]:
        """Fuse the levels.

        Args:
            feats: One tensor ``(B*N, in_channels[l], H_l, W_l)`` per level, finest first.

        Returns:
            A tuple of one tensor ``(B*N, out_channels, H_0, W_0)``.
        """
        if len(feats) != len(self.in_channels):
            raise ValueError(f'SingleLevelFPN was built for {len(self.in_channels)} levels '
                             f'(in_channels={self.in_channels}), but the backbone gives {len(feats)}: '
                             "make `in_channels` match the backbone's `out_indices`.")
        fused = self.lateral_convs[-1](feats[-1])
        for conv, feat in zip(reversed(self.lateral_convs[:-1]), reversed(feats[:-1])):
            fused = conv(feat) + F.interpolate(fused, size=feat.shape[-2:], mode='nearest')
        return (self.out_conv(fused), )
