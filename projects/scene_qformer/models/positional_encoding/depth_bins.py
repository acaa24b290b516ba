"""Which points in space a feature may show: its ray cut at fixed depths."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.models.layers import inverse_sigmoid
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...geometry import frustum_points, linear_increasing_depths
from .feature_cells import Cameras, cell_pixels, require_matrices, split_levels


@MODELS.register_module()
class DepthBinEncoding(BaseModule):
    """Which points in space a feature may show: an MLP on the points along its ray, one at each depth bin.

    PETR (Liu et al., arXiv 2203.05625, sections 3.2 and 3.3), as ORION and OmniDrive use it: the centre of each cell is
    taken to D depths, the near edges of linear-increasing bins, un-projected to the LiDAR frame, normalised by
    ``position_range`` to [0, 1] and stretched by the inverse sigmoid. Two things differ from the authors' code: cells
    stand for their centres (its cells stand for their upper left corners), and points outside the range are clamped to
    its border and otherwise used, where theirs also masks cells with more than half of their points outside.

    Queries' reference points are fractions of a range of the LiDAR frame as well: memory and queries are told places in
    one frame, but not in the same numbers. By default the queries' range is smaller (51.2 m to each side, heights from
    -5 to 3 m), and the decoder codes their fractions by sines. What matches what is for attention to learn.

    Nothing is kept between calls: the matrices change with every frame that is augmented. Computed in float32, also
    inside autocast.

    Args:
        embed_dims: Channels C.
        num_bins: Number of depths D.
        depth_start: The first depth, metres along the optical axis.
        depth_end: Where the last bin ends, metres.
        position_range: ``(x_min, y_min, z_min, x_max, y_max, z_max)`` metres, LiDAR frame.
        hidden_channels: Hidden channels of the MLP; 4 C by default, as in PETR.
    """

    def __init__(self,
                 embed_dims: int = 256,
                 num_bins: int = 64,
                 depth_start: float = 1.0,
                 depth_end: float = 61.2,
                 position_range: Sequence[float] = (-61.2, -61.2, -10.0, 61.2, 61.2, 10.0),
                 hidden_channels: int | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        linear_increasing_depths(num_bins, depth_start, depth_end)  # says now what is wrong with them
        if len(position_range) != 6 or any(low >= high for low, high in zip(position_range, position_range[3:])):
            raise ValueError('DepthBinEncoding expected position_range (x_min, y_min, z_min, x_max, y_max, z_max) in '
                             f'metres, each minimum below its maximum, got {tuple(position_range)}.')
        self.num_bins, self.depth_start, self.depth_end = num_bins, depth_start, depth_end
        self.position_range = tuple(position_range)
        hidden_channels = hidden_channels or 4 * embed_dims
        # Both layers start as torch starts them: the inverse sigmoid's numbers, up to 11.5, are large enough.
        self.mlp = nn.Sequential(
            nn.Linear(3 * num_bins, hidden_channels), nn.ReLU(), nn.Linear(hidden_channels, embed_dims))

    def forward(self, img_feats: Sequence[Tensor], cameras: Cameras) -> list[Tensor]:
        """Encode.

        Returns:
            One ``(B, N, C, Hl, Wl)`` tensor per level.

        Raises:
            ValueError: If ``lidar2img`` is missing, of another shape, or singular.
        """
        require_matrices('DepthBinEncoding', ('lidar2img', ), img_feats, cameras)
        with torch.autocast(img_feats[0].device.type, enabled=False):  # half precision would move points by metres
            points = self.points(img_feats, cameras)
            low, high = points.new_tensor(self.position_range).view(2, 3)
            numbers = inverse_sigmoid((points - low) / (high - low)).flatten(-2)  # (B, N, P, D * 3)
            codes = self.mlp(numbers.to(self.mlp[0].weight.dtype))
        return split_levels(codes, img_feats)

    def points(self, img_feats: Sequence[Tensor], cameras: Cameras) -> Tensor:
        """The points of the cells of all levels.

        Returns:
            ``(B, N, P, D, 3)`` float32, LiDAR frame, metres; P = sum(Hl * Wl), level by level, row by row.
        """
        pixels = cell_pixels(img_feats, cameras['image_size'])
        depths = linear_increasing_depths(self.num_bins, self.depth_start, self.depth_end, device=pixels.device)[:-1]
        return frustum_points(pixels, depths, cameras['lidar2img'].float())
