"""In which direction a feature looks, from the intrinsics and extrinsics of its camera."""
from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...geometry import camera_centers, ray_directions
from .feature_cells import Cameras, cell_pixels, require_matrices, split_levels

# What each frame asks for beside the image size.
MATRICES = {'camera': ('cam2img', ), 'lidar': ('cam2img', 'lidar2cam')}


def fourier_features(coordinates: Tensor, num_frequencies: int) -> Tensor:
    """Coordinates beside their sines and cosines at doubling frequencies.

    NeRF (Mildenhall et al., arXiv 2003.08934, eq. 4); Tancik et al. (arXiv 2006.10739) show why an MLP learns fine
    detail from them and not from the coordinates. The frequencies are fixed, ``2^k pi``: nothing to tune to a rig. All
    of them repeat after 2, so that -1 and 1 look alike; the coordinates themselves, kept beside them, tell those apart.

    Args:
        coordinates: ``(..., D)``, best in [-1, 1].
        num_frequencies: Number of frequencies F.

    Returns:
        ``(..., D * (1 + 2 * F))``: for each coordinate x: x, ``sin(2^k pi x)`` for k = 0 ... F-1, then the cosines.
    """
    frequencies = math.pi * 2**torch.arange(num_frequencies, dtype=coordinates.dtype, device=coordinates.device)
    angles = coordinates[..., None] * frequencies  # (..., D, F)
    return torch.cat((coordinates[..., None], angles.sin(), angles.cos()), dim=-1).flatten(-2)


@MODELS.register_module()
class RayEncoding(BaseModule):
    """In which direction a feature looks: an MLP on the Fourier features of the viewing ray through its cell.

    In the camera frame, rays tell what the intrinsics tell: the place in the image, as an angle, whatever the lens and
    the resolution. In the LiDAR frame they tell where around the vehicle, so that no camera ID is needed, and cameras
    may be permuted, turned or left out. Computed in float32, also inside autocast.

    Args:
        embed_dims: Channels C.
        frame: ``'camera'`` or ``'lidar'``, in which the unit vectors of the rays are given.
        center_range: Metres. If given, each ray is told with its origin, the camera's centre in the LiDAR frame divided
            by this; choose it so that cameras lie within. None for directions alone.
        num_frequencies: Number of frequencies of the Fourier features. The finest of the 4 that NeRF takes for
            directions (section 5.3) repeats after 0.25, 14 degrees at right angles to an axis; cells of the default
            model are 3 degrees apart.
        hidden_channels: Hidden channels of the MLP; C by default.
    """

    def __init__(self,
                 embed_dims: int = 256,
                 frame: str = 'lidar',
                 center_range: float | None = None,
                 num_frequencies: int = 4,
                 hidden_channels: int | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if frame not in MATRICES:
            raise ValueError(f"RayEncoding knows the frames 'camera' and 'lidar', got frame={frame!r}.")
        if center_range is not None and (frame != 'lidar' or center_range <= 0):
            raise ValueError("RayEncoding takes center_range, metres above 0, with frame='lidar' (in its own frame a "
                             f'camera stands at 0), got center_range={center_range} with frame={frame!r}.')
        self.frame, self.center_range, self.num_frequencies = frame, center_range, num_frequencies
        numbers = (3 if center_range is None else 6) * (1 + 2 * num_frequencies)
        hidden_channels = hidden_channels or embed_dims
        self.mlp = nn.Sequential(
            nn.Linear(numbers, hidden_channels), nn.ReLU(), nn.Linear(hidden_channels, embed_dims))

    def init_weights(self) -> None:
        """Codes start about as large as those of the sine encoding, so that attention sees them from the first step."""
        super().init_weights()
        for layer in (self.mlp[0], self.mlp[2]):
            nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')
            nn.init.zeros_(layer.bias)

    def forward(self, img_feats: Sequence[Tensor], cameras: Cameras) -> list[Tensor]:
        """Encode.

        Returns:
            One ``(B, N, C, Hl, Wl)`` tensor per level.

        Raises:
            ValueError: If a matrix is missing, of another shape, or singular.
        """
        require_matrices(f'RayEncoding(frame={self.frame!r})', MATRICES[self.frame], img_feats, cameras)
        with torch.autocast(img_feats[0].device.type, enabled=False):  # half precision would turn rays by cells
            features = fourier_features(self.rays(img_feats, cameras), self.num_frequencies)
            codes = self.mlp(features.to(self.mlp[0].weight.dtype))
        return split_levels(codes, img_feats)

    def rays(self, img_feats: Sequence[Tensor], cameras: Cameras) -> Tensor:
        """The rays through the cells of all levels.

        Returns:
            ``(B, N, P, 3)`` float32 unit vectors in the frame, or ``(B, N, P, 6)`` with the camera's centre over
            ``center_range`` behind; P = sum(Hl * Wl), level by level, row by row.
        """
        matrices = [cameras[name].float() for name in MATRICES[self.frame]]
        directions = ray_directions(cell_pixels(img_feats, cameras['image_size']), *matrices)
        if self.center_range is None:
            return directions
        centers = camera_centers(cameras['lidar2cam'].float()) / self.center_range  # (B, N, 3)
        return torch.cat((directions, centers[:, :, None].expand_as(directions)), dim=-1)
