"""Local queries: some for each camera, each at home in one part of the image."""
from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...geometry import camera_centers, cell_centers, pull_into_range, unproject
from ..camera_mask import missing_cells
from .pooling import pool_cameras
from .query_set import QuerySet


@MODELS.register_module()
class CameraGridQueries(BaseModule):
    """One query for each cell of a coarse grid over every camera's image; the local part of multi-granularity queries.

    The content is the cell's pooled feature beside a learned one of the cell; the reference point lies on the ray
    through the cell's centre, at a learned depth, or nearer where the ray leaves ``point_cloud_range`` before that. So
    a query starts from what its part of its camera shows, and attention that projects reference points looks there.
    Global attention is free to look elsewhere: a query is local by where it starts, not by a mask. There is no camera
    embedding, because the reference point tells the camera: any number of cameras will do, and Q depends on it.

    Beside global queries, in one config, the two granularities are ::

        scene_queries=dict(type='GroupedSceneQueries', groups=dict(
            whole=dict(type='SceneQueries', num_queries=256),
            local=dict(type='CameraGridQueries', grid=(6, 7))))  # 42 of each of 6 cameras

    (Why both: Honeybee, Cha et al., arXiv 2312.06742, found for language models that see one image that resamplers
    with global queries lose local detail, and projectors that keep the image's layout answer better.)

    Args:
        grid: Rows and columns ``(R, S)`` of the grid.
        embed_dims: Channels C.
        num_cameras: Only to announce ``num_queries``; any number of cameras may come in.
        initial_depth: Depth of all points at first, metres along the optical axis.
        point_cloud_range: ``(x_min, y_min, z_min, x_max, y_max, z_max)`` metres, LiDAR frame: the space that
            reference points in [0, 1] span.
    """

    def __init__(self,
                 grid: tuple[int, int] = (6, 7),
                 embed_dims: int = 256,
                 num_cameras: int = 6,
                 initial_depth: float = 20.,
                 point_cloud_range: Sequence[float] = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)) -> None:
        super().__init__()
        rows, columns = self.grid = (grid[0], grid[1])
        self.embed_dims = embed_dims
        self.num_queries = num_cameras * rows * columns
        self.cell_embedding = nn.Embedding(rows * columns, embed_dims)
        self.log_depth = nn.Parameter(torch.full((rows * columns, ), math.log(initial_depth)))
        self.feature_norm = nn.LayerNorm(embed_dims)
        self.feature_proj = nn.Linear(embed_dims, embed_dims)
        self.register_buffer('point_cloud_range', torch.tensor(point_cloud_range), persistent=False)

    def init_weights(self) -> None:
        super().init_weights()
        nn.init.normal_(self.cell_embedding.weight, std=0.02)
        nn.init.xavier_uniform_(self.feature_proj.weight)

    def forward(self, img_feats: list[Tensor], cameras: dict[str, Tensor]) -> QuerySet:
        """Camera by camera, row by row. Those of a missing camera stay, but no query looks at them.

        Args:
            img_feats: One ``(B, N, C, Hl, Wl)`` per level; the first, finest one is read.
            cameras: ``lidar2img`` ``(B, N, 4, 4)`` and ``image_size`` ``(2,)``, width and height in pixels.

        Raises:
            ValueError: If there are no camera matrices.
        """
        if 'lidar2img' not in cameras:
            raise ValueError('CameraGridQueries places its queries on the rays of the cameras and needs lidar2img '
                             '(B, N, 4, 4) in the metas of the data samples, but there is none. Use PackSceneInputs in '
                             'the pipeline, and call the model with data_samples.')
        pooled = pool_cameras(img_feats[0], self.grid)  # (B, N, R*S, C)
        query = self.feature_proj(self.feature_norm(pooled)) + self.cell_embedding.weight.to(pooled.dtype)
        points = self._reference_points(cameras['lidar2img'], cameras['image_size'])
        missing = missing_cells(cameras, self.grid[0] * self.grid[1])
        query, points = query.flatten(1, 2), points.flatten(1, 2)
        if missing is not None:
            points = points.masked_fill(missing[..., None], 0.5)
        return QuerySet(query, points, padding_mask=missing)

    def _reference_points(self, lidar2img: Tensor, image_size: Tensor) -> Tensor:
        """``(B, N, R*S, 3)`` in [0, 1]."""
        rows, columns = self.grid
        centers = cell_centers(rows, columns, (1 / columns, 1 / rows), device=lidar2img.device).flatten(0, 1)
        pixels = (centers * image_size).expand(*lidar2img.shape[:2], -1, -1)
        low, high = self.point_cloud_range.split(3)
        points = unproject(pixels, self.log_depth.float().exp().expand(pixels.shape[:-1]), lidar2img)
        # At depth 0 intrinsics change nothing: lidar2img has the centres of lidar2cam.
        points = pull_into_range(points, camera_centers(lidar2img)[..., None, :], self.point_cloud_range)
        return ((points - low) / (high - low)).clamp(0, 1)  # rounding

    def loss(self, query_set: QuerySet, cameras: dict[str, Tensor], batch_data_samples: list) -> dict[str, Tensor]:
        """None of its own."""
        return {}
