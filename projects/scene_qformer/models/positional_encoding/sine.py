"""Sines and cosines of coordinates, and of a feature's row and column."""
from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor

from .feature_cells import Cameras


def sine_embedding(coordinates: Tensor, num_feats: int, temperature: float = 10000.) -> Tensor:
    """Embed normalised coordinates by sines and cosines (Vaswani et al., arXiv 1706.03762, section 3.5).

    Args:
        coordinates: ``(..., D)`` in [0, 1].
        num_feats: Even number F of features per coordinate.
        temperature: Ratio of the longest to the shortest wavelength.

    Returns:
        ``(..., D * F)``; for coordinate d, feature 2k is ``sin(2 pi x_d / T^(2k/F))`` and 2k+1 the cosine.
    """
    exponent = torch.arange(0, num_feats, 2, dtype=torch.float32, device=coordinates.device) / num_feats
    angles = (coordinates.float() * 2 * math.pi)[..., None] / temperature**exponent  # (..., D, F/2)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-3)


@MODELS.register_module()
class Sine2DEncoding(BaseModule):
    """Where in its image a feature lies: mmdet's ``SinePositionalEncoding`` of row and column.

    Args:
        embed_dims: Channels C; half of them encode the row, half the column.
        normalize: Scale coordinates to the image size, so that the code does not depend on the resolution. Centres of
            cells are at ``(i + 0.5) / Hl``.
    """

    def __init__(self, embed_dims: int = 256, normalize: bool = True) -> None:
        super().__init__()
        if embed_dims % 4:
            raise ValueError(f'Sine2DEncoding needs embed_dims divisible by 4 (sine and cosine of row and column), '
                             f'got {embed_dims}.')
        self.encoding = MODELS.build(
            dict(type='mmdet.SinePositionalEncoding', num_feats=embed_dims // 2, normalize=normalize, offset=-0.5))

    def forward(self, img_feats: Sequence[Tensor], cameras: Cameras) -> list[Tensor]:
        """Returns one ``(1, 1, C, Hl, Wl)`` tensor per level."""
        encodings = []
        for feat in img_feats:
            not_padded = feat.new_zeros((1, *feat.shape[-2:]), dtype=torch.bool)
            encodings.append(self.encoding(not_padded)[:, None].to(feat.dtype))
        return encodings
