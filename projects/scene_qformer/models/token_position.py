"""Where scene tokens lie: what the queries' reference points tell the language model."""
from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor

NUM_HARMONICS = 8  # of the azimuth: sectors down to 22 degrees, a camera of nuScenes sees 70
NUM_OCTAVES = 6  # of the distance: from twice the farthest corner of the range to a 32nd of it, 145 to 4.5 m


@MODELS.register_module()
class PolarTokenPosition(BaseModule):
    """Writes beside each scene query where it is, as seen from the vehicle: 32 numbers without parameters.

    A query is told its reference point in attention alone, and predicts its box relative to that point, so that what
    it holds says *what* is there but not *where*. A head is handed the points beside the queries; a language model is
    handed tokens only. Queries that always start at the same points could be told apart by their content; those that
    start at proposals, or move, cannot.

    The numbers, with ``d`` the horizontal distance from the middle of ``point_cloud_range``, D that of its corners
    and ``a`` the azimuth: ``x / D``, ``y / D``, ``z / D`` and ``d / D``; ``cos(k a), sin(k a)`` for k = 1 ... 8
    (a camera is a sector); ``sin, cos(pi 2^k d / D)`` for k = 0 ... 5 (as NeRF, Mildenhall et al., arXiv 2003.08934,
    section 5.1).

    Args:
        point_cloud_range: ``(x_min, y_min, z_min, x_max, y_max, z_max)`` metres, LiDAR frame: the space that
            reference points in [0, 1] span.

    Raises:
        ValueError: If the range is none.
    """

    channels = 4 + 2 * NUM_HARMONICS + 2 * NUM_OCTAVES

    def __init__(self, point_cloud_range: Sequence[float] = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)) -> None:
        super().__init__()
        if len(point_cloud_range) != 6 or not all(low < high for low, high in zip(
                point_cloud_range[:3], point_cloud_range[3:])):
            raise ValueError('PolarTokenPosition needs point_cloud_range (x_min, y_min, z_min, x_max, y_max, z_max), '
                             f'got {tuple(point_cloud_range)}.')
        self.register_buffer('point_cloud_range', torch.tensor(point_cloud_range), persistent=False)

    def forward(self, queries: Tensor, reference_points: Tensor) -> Tensor:
        """Concatenate.

        Args:
            queries: ``(B, Q, C)``.
            reference_points: ``(B, Q, 3)`` in [0, 1]. They get no gradient from here.

        Returns:
            ``(B, Q, C + 32)``, in the queries' dtype.
        """
        return torch.cat((queries, self.encode(reference_points).to(queries.dtype)), dim=-1)

    @torch.no_grad()
    def encode(self, reference_points: Tensor) -> Tensor:
        """``(B, Q, 3)`` in [0, 1] to ``(B, Q, 32)`` float32."""
        low, high = self.point_cloud_range.split(3)
        points = (reference_points.float() - 0.5) * (high - low)  # metres from the middle
        farthest = 0.5 * (high - low)[:2].norm()
        distance = points[..., :2].norm(dim=-1, keepdim=True) / farthest
        harmonics = torch.arange(1, NUM_HARMONICS + 1, device=points.device)
        azimuth = torch.atan2(points[..., 1:2], points[..., :1]) * harmonics
        waves = math.pi * distance * 2**torch.arange(NUM_OCTAVES, device=points.device)
        return torch.cat((points / farthest, distance, azimuth.cos(), azimuth.sin(), waves.sin(), waves.cos()), dim=-1)
