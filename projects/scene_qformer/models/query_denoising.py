"""Denoising queries: in training, shifted true objects beside the learned queries."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn


class DenoisingQueries(NamedTuple):
    """D denoising queries a sample, D = num_groups * (the most objects of a sample)."""

    query: Tensor  # (B, D, C)
    reference_points: Tensor  # (B, D, 3) in [0, 1]
    object_index: Tensor  # (B, D) int64, the object that each query stands for; -1 where there is none (padding)
    num_groups: int
    padded: bool = True  # whether any query stands for no object; known without waiting for the device

    def attention_mask(self, num_queries: int, among_queries: Tensor | None = None,
                       stand_for: slice = slice(None)) -> Tensor:
        """Who must not see whom among D denoising and then Q = ``num_queries`` learned queries.

        With two groups of one object and two learned queries, x is forbidden::

                  g0 g1 q0 q1
              g0  .  x  .  .      a group sees itself and the learned queries
              g1  x  .  .  .
              q0  x  x  .  .      learned queries see only each other: they could copy the answers
              q1  x  x  .  .

        Denoising queries stand for the learned queries of the head that they train, and see only what those see. If
        these are q1 alone, and q1 is blind to q0::

                  g0 g1 q0 q1
              g0  .  x  x  .
              g1  x  .  x  .
              q0  x  x  .  .
              q1  x  x  x  .

        Args:
            num_queries: Q.
            among_queries: ``(Q, Q)`` bool, True where learned queries must not see each other.
            stand_for: The learned queries of the head; all by default.

        Returns:
            ``(D + Q, D + Q)`` bool, True where forbidden.
        """
        num_denoising = self.query.shape[1]
        group = torch.arange(num_denoising + num_queries, device=self.query.device)
        group = (group * self.num_groups).div(max(num_denoising, 1), rounding_mode='floor')
        group[num_denoising:] = self.num_groups  # the learned queries
        mask = group[:, None] != group[None, :]
        mask[:num_denoising, num_denoising:] = False
        if among_queries is not None:
            mask[num_denoising:, num_denoising:] |= among_queries
            # Whatever one of the head's queries sees, a denoising query may see too.
            mask[:num_denoising, num_denoising:] = among_queries[stand_for].all(dim=0)
        return mask

    def padding_mask(self, num_queries: int, among_queries: Tensor | None = None) -> Tensor | None:
        """Who must not be seen by anybody, as queries without an object.

        Otherwise a sample's gradients would depend on how many objects the others of its batch have.

        Args:
            num_queries: Q.
            among_queries: ``(B, Q)`` bool, True at learned queries that must not be seen.

        Returns:
            ``(B, D + Q)`` bool, True at these; None if there are none, so that a decoder need not know of them.
        """
        if among_queries is not None:
            return torch.cat((self.object_index < 0, among_queries), dim=1)
        return F.pad(self.object_index < 0, (0, num_queries)) if self.padded else None


@MODELS.register_module()
class QueryDenoising(BaseModule):
    """Queries that start near true objects and must find them, so that nothing has to be matched.

    Set prediction learns slowly at first, because the matching flips from step to step. A query that is told where to
    look, give or take some metres, learns from the first step on what an object looks like and how far off it stands
    (DN-DETR, Li et al., arXiv 2203.01305; for 3D centres: PETRv2, Liu et al., arXiv 2206.01256, section 3.3). They
    exist in training only; learned queries do not see them.

    Args:
        embed_dims: Channels C.
        num_groups: How many shifted copies of every object.
        center_noise: Largest shift along (x, y, z), metres.
        point_cloud_range: The space that reference points in [0, 1] span, metres, LiDAR frame.
    """

    def __init__(self,
                 embed_dims: int = 256,
                 num_groups: int = 2,
                 center_noise: Sequence[float] = (3.0, 3.0, 0.5),
                 point_cloud_range: Sequence[float] = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)) -> None:
        super().__init__()
        self.num_groups = num_groups
        self.query_embedding = nn.Embedding(1, embed_dims)
        self.register_buffer('center_noise', torch.tensor(center_noise), persistent=False)
        self.register_buffer('point_cloud_range', torch.tensor(point_cloud_range), persistent=False)

    def init_weights(self) -> None:
        super().init_weights()
        nn.init.normal_(self.query_embedding.weight, std=0.02)

    def forward(self, batch_centers: list[Tensor]) -> DenoisingQueries:
        """Shift every object ``num_groups`` times.

        Args:
            batch_centers: B tensors ``(G, 3)``, centres of gravity in the LiDAR frame, metres.
        """
        low, high = self.point_cloud_range.split(3)
        longest = max(len(centers) for centers in batch_centers)
        points = low.new_full((len(batch_centers), self.num_groups, longest, 3), 0.5)
        index = torch.full(points.shape[:3], -1, dtype=torch.long, device=low.device)
        for row, centers in enumerate(batch_centers):
            fractions = (centers.to(low) - low) / (high - low)
            points[row, :, :len(centers)] = fractions
            index[row, :, :len(centers)] = torch.arange(len(centers), device=low.device)
        shift = (torch.rand_like(points) * 2 - 1) * self.center_noise / (high - low)
        points = (points + shift).clamp(0, 1).flatten(1, 2)
        query = self.query_embedding.weight.expand(len(points), points.shape[1], -1)
        padded = any(len(centers) < longest for centers in batch_centers)
        return DenoisingQueries(query, points, index.flatten(1), self.num_groups, padded)
