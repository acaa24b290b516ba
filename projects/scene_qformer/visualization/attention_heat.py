"""Attention of a query as heat on a camera image."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import matplotlib
import numpy as np

from ..geometry import pixel_map_between_centers, resize_matrix

_HEAT = matplotlib.colormaps['inferno']
_OPACITY = 0.9  # of the strongest heat
_GREY = np.array((0.8, 0.83, 0.9), dtype=np.float32)  # bluish and dimmed: the heat is what shines


@dataclass(frozen=True)
class QueryLook:
    """Where one query looked, in terms of the images that the network saw.

    Maps sum to 1 over all cameras and levels, or are 0.
    """

    maps: Mapping[str, Sequence[np.ndarray]]  # camera name to one (Hl, Wl) per feature level
    points: Mapping[str, np.ndarray]  # camera name to pixel (2,) that it looked from; only cameras that see it
    image_maps: Mapping[str, np.ndarray]  # camera name to (3, 3), from pixels of the recorded image to the network's
    image_size: tuple[int, int]  # width, height of the network's images

    def share(self, camera: str) -> float:
        """How much of the attention a camera gets, 0 to 1."""
        return float(sum(level.sum() for level in self.maps[camera]))


def attention_density(look: QueryLook, camera: str, recorded_width: int, size: tuple[int, int]) -> np.ndarray:
    """Attention by area, as multiples of what every place would get if the query looked everywhere alike.

    Args:
        look: Where the query looked.
        camera: Name of the camera.
        recorded_width: Width of the recorded image, pixels.
        size: (width, height) of the picture that is wanted, the whole recorded image in another size.

    Returns:
        ``(height, width)`` float32: interpolated between the centres of the cells, feature levels added up; 0 where the
        network did not see the recorded image.
    """
    scale = size[0] / recorded_width
    to_picture = resize_matrix(scale, scale) @ np.linalg.inv(look.image_maps[camera])
    density = np.zeros(size[::-1], dtype=np.float32)
    for level in look.maps[camera]:
        height, width = level.shape
        cells = np.asarray(level, dtype=np.float32) * (level.size * len(look.maps))
        cells_to_picture = to_picture @ resize_matrix(look.image_size[0] / width, look.image_size[1] / height)
        density += cv2.warpAffine(cells, pixel_map_between_centers(cells_to_picture)[:2], size, flags=cv2.INTER_LINEAR,
                                  borderMode=cv2.BORDER_REPLICATE)
    seen = np.ones(look.image_size[::-1], dtype=np.float32)
    return density * cv2.warpAffine(seen, pixel_map_between_centers(to_picture)[:2], size, flags=cv2.INTER_NEAREST)


def lay_heat(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lay heat over a greyed image.

    Args:
        image: (H, W, 3) uint8 RGB.
        heat: (H, W), 0 to 1.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None] * _GREY
    opacity = _OPACITY * np.sqrt(heat)[..., None]  # the root shows little heat as well
    color = 255 * _HEAT(0.25 + 0.7 * heat)[..., :3]  # without the map's black and its palest yellow
    return (grey * (1 - opacity) + color * opacity).astype(np.uint8)
