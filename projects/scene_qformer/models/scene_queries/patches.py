"""Every patch of the images is a query: no choice and no summary, as in LLaVA."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor

from ..camera_mask import missing_cells
from .query_set import QuerySet


@MODELS.register_module()
class PatchQueries(BaseModule):
    """All feature cells of all cameras, in the order of the memory: camera by camera, level by level, row by row.

    With :class:`NoDecoder` and :class:`MLPProjector` this is LLaVA's way from images to tokens (Liu et al., arXiv
    2310.03744, section 3.2), the baseline of every token former: an MLP on each patch. LLaVA's patches bring their
    position with them, from CLIP; these are a convolutional network's, so that a position code is added. ::

        scene_queries=dict(type='PatchQueries', positional_encoding=...),   # (B, 2646, 256) in the default design
        decoder=dict(type='NoDecoder'),
        projector=dict(type='MLPProjector', hidden_channels=4096)           # LLaVA's is as wide as the language model

    With ``grid`` each map is averaged to fewer cells first, and a cell is told its own centre, so that the baseline can
    have as many tokens as another model.

    The reference points are the middle of the space, all of them: patches are no places in space, so these queries are
    not for boxes, nor for attention that projects points.

    Args:
        positional_encoding: Config of the encoding that is added to the features here.
        grid: Rows and columns ``(R, S)`` to which the map of each camera and level is averaged; None keeps all cells.
        embed_dims: Channels C.
        num_cameras: Only to announce ``num_queries``; any number may come in.
        num_cells: Cells of a camera without ``grid``; likewise only to announce.
    """

    def __init__(self,
                 positional_encoding: dict,
                 grid: tuple[int, int] | None = None,
                 embed_dims: int = 256,
                 num_cameras: int = 6,
                 num_cells: int = 21 * 21) -> None:
        super().__init__()
        self.grid = None if grid is None else (grid[0], grid[1])
        self.embed_dims = embed_dims
        self.num_queries = num_cameras * (num_cells if self.grid is None else self.grid[0] * self.grid[1])
        self.positional_encoding = MODELS.build(positional_encoding)

    def forward(self, img_feats: list[Tensor], cameras: dict[str, Tensor]) -> QuerySet:
        """Lay the cells out. Those of a missing camera are zero, and no query looks at them.

        Args:
            img_feats: One ``(B, N, C, Hl, Wl)`` per level.
            cameras: What the encoding needs.

        Raises:
            ValueError: If ``grid`` has more rows or columns than a map.
        """
        if self.grid is not None:
            img_feats = [self._pool(feat, self.grid) for feat in img_feats]
        placed = [feat + encoding for feat, encoding in zip(img_feats, self.positional_encoding(img_feats, cameras))]
        # per level (B, N, C, Hl, Wl) -> (B, N, Hl*Wl, C); joined to (B, Q, C)
        query = torch.cat([feat.flatten(3).transpose(2, 3) for feat in placed], dim=2).flatten(1, 2)
        missing = missing_cells(cameras, query.shape[1] // img_feats[0].shape[1])
        if missing is not None:
            query = query.masked_fill(missing[..., None], 0.)
        return QuerySet(query, query.new_full((*query.shape[:2], 3), 0.5, dtype=torch.float32), padding_mask=missing)

    @staticmethod
    def _pool(feat: Tensor, grid: tuple[int, int]) -> Tensor:
        """``(B, N, C, R, S)``."""
        if grid[0] > feat.shape[3] or grid[1] > feat.shape[4]:
            raise ValueError(f'PatchQueries was given grid={grid}, but a map of the images has only '
                             f'{tuple(feat.shape[3:])} rows and columns: cells would repeat. Give a smaller grid, '
                             'larger images, or grid=None for all cells.')
        return F.adaptive_avg_pool2d(feat.flatten(0, 1), grid).unflatten(0, feat.shape[:2])

    def loss(self, query_set: QuerySet, cameras: dict[str, Tensor], batch_data_samples: list) -> dict[str, Tensor]:
        """None of its own."""
        return {}
