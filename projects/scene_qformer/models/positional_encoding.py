"""Positional encodings: where an image feature lies, as a vector that is added to it.

An encoding is a module called with ``(img_feats, cameras)`` that returns one tensor per level which broadcasts to
``(B, N, C, Hl, Wl)``:

- ``img_feats``: list of ``(B, N, C, Hl, Wl)``, finest level first; encodings read shapes and dtype from it.
- ``cameras``: dict of float32 tensors: ``image_size`` ``(2,)`` and, where the model is called with metas,
  ``lidar2img``, ``lidar2cam``, ``cam2img`` ``(B, N, 4, 4)``, stacked once by the detector.
"""
from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

Cameras = dict[str, Tensor]


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


@MODELS.register_module()
class CameraIDEncoding(BaseModule):
    """Which camera a feature comes from: one learned vector per camera, in the order of the images.

    Args:
        embed_dims: Channels C.
        num_cameras: The largest number of cameras; fewer may be given.
    """

    def __init__(self, embed_dims: int = 256, num_cameras: int = 6) -> None:
        super().__init__()
        self.camera_embedding = nn.Embedding(num_cameras, embed_dims)

    def init_weights(self) -> None:
        super().init_weights()
        nn.init.normal_(self.camera_embedding.weight, std=0.02)

    def forward(self, img_feats: Sequence[Tensor], cameras: Cameras) -> list[Tensor]:
        """Returns one ``(1, N, C, 1, 1)`` tensor per level."""
        num_cameras, known = img_feats[0].shape[1], self.camera_embedding.num_embeddings
        if num_cameras > known:
            raise ValueError(f'CameraIDEncoding knows {known} cameras, but {num_cameras} images a sample came in: '
                             f'set positional_encoding num_cameras={num_cameras}.')
        embedding = self.camera_embedding.weight[:num_cameras]
        return [embedding[None, :, :, None, None].to(feat.dtype) for feat in img_feats]


@MODELS.register_module()
class SumEncoding(BaseModule):
    """The sum of several encodings.

    Args:
        encodings: Config of each summand.
    """

    def __init__(self, encodings: Sequence[dict]) -> None:
        super().__init__()
        if not encodings:
            raise ValueError('SumEncoding needs at least one entry in `encodings`.')
        self.encodings = nn.ModuleList(MODELS.build(cfg) for cfg in encodings)

    def forward(self, img_feats: Sequence[Tensor], cameras: Cameras) -> list[Tensor]:
        """Returns one tensor per level that broadcasts to ``(B, N, C, Hl, Wl)``."""
        levels = zip(*(encoding(img_feats, cameras) for encoding in self.encodings))
        return [sum(level[1:], start=level[0]) for level in levels]
