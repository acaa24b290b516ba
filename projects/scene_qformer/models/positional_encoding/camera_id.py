"""Which camera a feature comes from."""
from __future__ import annotations

from collections.abc import Sequence

from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from .feature_cells import Cameras


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
