"""Deformable attention around the projections of 3D reference points into all cameras."""
from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..geometry import project
from .camera_mask import CAMERA_MASK
from .surround_sampling import CameraLevels

DEFAULT_SAMPLING = dict(type='DefaultSampling')


@MODELS.register_module()
class SurroundDeformableAttention(BaseModule):
    """Each query looks around where its 3D reference point appears, in every camera that sees it.

    The point is projected through ``lidar2img``. Around the projection, P points a head and level are sampled at
    learned offsets, which are counted in cells of the feature map, and weighted (Deformable DETR, Zhu et al.,
    arXiv 2010.04159). What several cameras see is averaged (spatial cross-attention of BEVFormer, Li et al.,
    arXiv 2203.17270, eq. 4). A query that no camera sees keeps its own state, plus the bias of the output projection,
    which every query gets. A missing camera sees nothing.

    Args:
        embed_dims: Channels C.
        num_heads: Number of heads; must divide C.
        num_levels: Feature levels L of each camera.
        num_points: Sampled points P a head and level.
        point_cloud_range: ``(x_min, y_min, z_min, x_max, y_max, z_max)`` metres, LiDAR frame: the space that
            reference points in [0, 1] span.
        proj_drop: Dropout of the output, before the input is added.
        operator: Samples the cameras: ``DefaultSampling``, mmcv's operator on a GPU and the vectorised one on a CPU, or
            another of ``surround_sampling.py``. ``dict(type='TritonSampling')`` on a GPU never waits for it.
        batch_first: Only True is supported.
    """

    def __init__(self,
                 embed_dims: int = 256,
                 num_heads: int = 8,
                 num_levels: int = 1,
                 num_points: int = 4,
                 point_cloud_range: Sequence[float] = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0),
                 proj_drop: float = 0.,
                 operator: dict = DEFAULT_SAMPLING,
                 batch_first: bool = True,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if not batch_first:
            raise ValueError('SurroundDeformableAttention works batch first: (B, Q, C). Leave batch_first=True.')
        if embed_dims % num_heads:
            raise ValueError(f'num_heads={num_heads} does not divide embed_dims={embed_dims}.')
        self.num_heads, self.num_levels, self.num_points = num_heads, num_levels, num_points
        self.register_buffer('point_cloud_range', torch.tensor(point_cloud_range), persistent=False)
        samples = num_heads * num_levels * num_points
        self.sampling_offsets = nn.Linear(embed_dims, samples * 2)
        self.attention_weights = nn.Linear(embed_dims, samples)
        self.value_proj = nn.Linear(embed_dims, embed_dims)
        self.output_proj = nn.Linear(embed_dims, embed_dims)
        self.proj_drop = nn.Dropout(proj_drop)
        self.operator = MODELS.build(operator)
        self.init_weights()

    def init_weights(self) -> None:
        """Each head looks in a direction of its own, each point one cell further, all with equal weight."""
        super().init_weights()
        nn.init.zeros_(self.sampling_offsets.weight)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        angles = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        directions = torch.stack((angles.cos(), angles.sin()), dim=-1)  # (heads, 2)
        steps = torch.arange(self.num_points, dtype=torch.float32)[:, None]  # (P, 1): the first point stays
        offsets = directions[:, None, None] * steps  # (heads, 1, P, 2)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.expand(-1, self.num_levels, -1, -1).flatten())
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def forward(self,
                query: Tensor,
                value: Tensor,
                reference_points: Tensor,
                spatial_shapes: Tensor | None,
                level_start_index: Tensor | None,
                cameras: dict[str, Tensor],
                identity: Tensor | None = None,
                query_pos: Tensor | None = None,
                key_padding_mask: Tensor | None = None,
                level_shapes: tuple[tuple[int, int], ...] | None = None,
                **kwargs) -> Tensor:
        """Attend.

        Args:
            query: ``(B, Q, C)``.
            value: ``(B, K, C)``, the memory, camera by camera, level by level.
            reference_points: ``(B, Q, 3)`` in [0, 1], fractions of ``point_cloud_range``.
            spatial_shapes: ``(N*L, 2)`` int64, (Hl, Wl).
            level_start_index: ``(N*L,)`` int64.
            cameras: ``lidar2img`` ``(B, N, 4, 4)`` and ``image_size`` ``(2,)``: width and height in pixels; where
                cameras are missing, ``camera_mask`` ``(B, N)`` bool.
            identity: ``(B, Q, C)`` to which the result is added; the query by default.
            query_pos: ``(B, Q, C)``, added to the query.
            key_padding_mask: ``(B, K)`` bool, True at values to treat as zero.
            level_shapes: The L pairs (Hl, Wl) of each camera as Python integers. Where they are None, operators that
                need them take them from ``spatial_shapes``, and wait for the device.
            kwargs: The rest of the decoder's keyword set (key, key_pos).

        Returns:
            ``(B, Q, C)``.

        Raises:
            ValueError: If there are no camera matrices or spatial shapes, or the number of levels is another.
        """
        if 'lidar2img' not in cameras:
            raise ValueError('SurroundDeformableAttention projects 3D points and needs lidar2img (B, N, 4, 4) in the '
                             'metas of the data samples, but there is none. Use PackSceneInputs in the pipeline, and '
                             'call the model with data_samples.')
        if spatial_shapes is None or level_start_index is None:
            raise ValueError('SurroundDeformableAttention needs spatial_shapes (N*L, 2) and level_start_index (N*L,), '
                             'but got None. SceneQFormer gives them; if you call the decoder yourself, give it all '
                             'that flatten_memory(img_feats, encodings) returns.')
        lidar2img = cameras['lidar2img']
        num_cameras = lidar2img.shape[1]
        if len(spatial_shapes) != num_cameras * self.num_levels:
            raise ValueError(f'SurroundDeformableAttention was built for num_levels={self.num_levels} of each of '
                             f'{num_cameras} cameras, but the memory has {len(spatial_shapes)} levels in all: set '
                             'num_levels in cross_attn_cfg to the number of levels that the neck gives.')
        identity = query if identity is None else identity
        query = query if query_pos is None else query + query_pos
        projections, visible = self.project_reference_points(reference_points, lidar2img, cameras['image_size'],
                                                             cameras.get(CAMERA_MASK))

        value = self.value_proj(value)
        if key_padding_mask is not None:
            value = value.masked_fill(key_padding_mask[..., None], 0.)
        per_head = (*query.shape[:2], self.num_heads, self.num_levels, self.num_points)
        levels = CameraLevels(spatial_shapes[:self.num_levels], level_start_index[:self.num_levels], level_shapes)
        total = self.operator(
            value.reshape(len(value), num_cameras, -1, self.num_heads, value.shape[-1] // self.num_heads), levels,
            projections, visible,
            self.sampling_offsets(query).view(*per_head, 2),
            self.attention_weights(query).view(*per_head[:3], -1)).to(query.dtype)
        count = visible.sum(1)[..., None].clamp(min=1)  # (B, Q, 1)
        return identity + self.proj_drop(self.output_proj(total / count))

    def project_reference_points(self, reference_points: Tensor, lidar2img: Tensor, image_size: Tensor,
                                 camera_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Where the points appear.

        Args:
            reference_points: ``(B, Q, 3)`` in [0, 1].
            lidar2img: ``(B, N, 4, 4)``.
            image_size: ``(2,)``, width and height in pixels.
            camera_mask: ``(B, N)`` bool, False at cameras that are missing; None if none is.

        Returns:
            Fractions of width and height ``(B, N, Q, 2)``, 0 where not visible; whether a camera sees the point
            ``(B, N, Q)`` bool.
        """
        low, high = self.point_cloud_range.split(3)
        pixels, _, in_front = project(low + reference_points.float() * (high - low), lidar2img)
        fractions = pixels / image_size
        visible = in_front & ((fractions >= 0) & (fractions < 1)).all(-1)
        if camera_mask is not None:
            visible = visible & camera_mask[..., None]
        return fractions.masked_fill(~visible[..., None], 0.), visible
