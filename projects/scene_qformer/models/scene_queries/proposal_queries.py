"""Queries that start where a dense head saw something in the images."""
from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...geometry import camera_centers, pull_into_range
from ..camera_mask import missing_cells
from ..heads.image_center_head import ImageCenters
from .query_set import QuerySet
from .unified import SceneQueries


@MODELS.register_module()
class ProposalQueries(BaseModule):
    """Learned queries, and beside them queries at the most likely object centres of the images.

    A dense head finds projected centres and their depth in every camera; the best peaks, taken over all cameras
    together, are un-projected to 3D reference points, and the features there become the content (Far3D, Jiang et al.,
    arXiv 2308.09616, section 3.2). The decoder then starts metres from an object instead of having to search for it.
    Centres that are placed beyond ``point_cloud_range`` are drawn nearer along their ray until they lie inside.

    Args:
        num_queries: Number Q of queries in all.
        num_proposals: How many of them come from the images; the rest is learned.
        embed_dims: Channels C.
        center_head: Config of the dense head.
        point_cloud_range: ``(x_min, y_min, z_min, x_max, y_max, z_max)`` metres, LiDAR frame: the space that
            reference points in [0, 1] span.
        concentration: Of the learned points; see :class:`SceneQueries`.
    """

    def __init__(self,
                 num_queries: int = 512,
                 num_proposals: int = 256,
                 embed_dims: int = 256,
                 center_head: dict | None = None,
                 point_cloud_range: Sequence[float] = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0),
                 concentration: float = 1.) -> None:
        if not 0 < num_proposals < num_queries:
            raise ValueError(f'ProposalQueries needs 0 < num_proposals < num_queries, got {num_proposals} of '
                             f'{num_queries}. Without proposals, use SceneQueries.')
        super().__init__()
        self.num_queries, self.num_proposals, self.embed_dims = num_queries, num_proposals, embed_dims
        self.learned = SceneQueries(num_queries - num_proposals, embed_dims, concentration)
        self.center_head = MODELS.build({'type': 'ImageCenterHead', 'embed_dims': embed_dims, **(center_head or {})})
        self.feature_proj = nn.Linear(embed_dims, embed_dims)
        self.class_proj = nn.Linear(self.center_head.num_classes, embed_dims)
        self.content_norm = nn.LayerNorm(embed_dims)
        self.register_buffer('point_cloud_range', torch.tensor(point_cloud_range), persistent=False)

    def forward(self, img_feats: list[Tensor], cameras: dict[str, Tensor]) -> QuerySet:
        """Find peaks on the finest level. Cells of missing cameras propose nothing.

        Where the other cells are too few, the rest of the proposals is empty, and no query looks at it.

        Raises:
            ValueError: If the images have fewer cells than ``num_proposals``, or camera matrices are missing.
        """
        learned = self.learned(img_feats, cameras)
        feat = img_feats[0]
        centers = self.center_head(feat, cameras)
        scores = self._peaks(centers.heatmap)  # (B, N*H*W)
        if scores.shape[1] < self.num_proposals:
            raise ValueError(f'ProposalQueries was asked for {self.num_proposals} proposals, but the images have only '
                             f'{scores.shape[1]} cells. Lower num_proposals, or give larger images.')
        missing = missing_cells(cameras, centers.depth[0, 0].numel())
        if missing is not None:
            scores = scores.masked_fill(missing, float('-inf'))
        cells = scores.topk(self.num_proposals).indices[..., None]  # (B, P, 1)
        points = self._points(centers, cells, cameras)
        content = self._of_cells(feat, cells)
        classes = self._of_cells(centers.heatmap, cells).sigmoid().to(content.dtype)
        query = self.content_norm(self.feature_proj(content) + self.class_proj(classes))
        padding_mask = None
        if missing is not None:
            empty = missing.gather(1, cells.squeeze(-1))
            query, points = query.masked_fill(empty[..., None], 0.), points.masked_fill(empty[..., None], 0.5)
            padding_mask = F.pad(empty, (0, learned.query.shape[1]))
        return QuerySet(
            query=torch.cat((query, learned.query.to(query.dtype)), dim=1),
            reference_points=torch.cat((points, learned.reference_points), dim=1),
            proposals=centers,
            padding_mask=padding_mask)

    @torch.no_grad()
    def _points(self, centers: ImageCenters, cells: Tensor, cameras: dict[str, Tensor]) -> Tensor:
        """The centres that cells ``(B, P, 1)`` propose: ``(B, P, 3)`` in [0, 1]."""
        low, high = self.point_cloud_range.split(3)
        points = self.center_head.points(centers, cameras).flatten(1, 3).gather(1, cells.expand(-1, -1, 3))
        camera = cells // centers.depth[0, 0].numel()
        origins = camera_centers(cameras['lidar2cam']).gather(1, camera.expand(-1, -1, 3))
        points = pull_into_range(points, origins, self.point_cloud_range)
        return ((points - low) / (high - low)).clamp(0, 1)  # rounding

    @staticmethod
    @torch.no_grad()
    def _peaks(heatmap: Tensor) -> Tensor:
        """The best class score of every cell, ``(B, N*H*W)``; cells beside a better one come after all peaks."""
        scores = heatmap.amax(2).sigmoid()  # (B, N, H, W)
        highest = F.max_pool2d(scores, 3, stride=1, padding=1)
        return torch.where(scores == highest, scores, scores - 1).flatten(1)

    @staticmethod
    def _of_cells(values: Tensor, cells: Tensor) -> Tensor:
        """``(B, N, C, H, W)`` at cells ``(B, P, 1)``: ``(B, P, C)``."""
        flat = values.permute(0, 1, 3, 4, 2).flatten(1, 3)
        return flat.gather(1, cells.expand(-1, -1, flat.shape[-1]))

    def loss(self, query_set: QuerySet, cameras: dict[str, Tensor], batch_data_samples: list) -> dict[str, Tensor]:
        """The dense head's."""
        centers: ImageCenters = query_set.proposals
        return self.center_head.loss(centers, cameras, batch_data_samples)
