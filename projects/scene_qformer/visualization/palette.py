"""Colours of classes and of true boxes: bright enough for photographs as well as for a dark bird's-eye view."""
from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np

Color = tuple[int, int, int]  # RGB, 0 to 255

CLASS_COLORS: dict[str, Color] = {
    'car': (255, 159, 28),
    'truck': (255, 82, 82),
    'trailer': (190, 110, 255),
    'bus': (255, 224, 70),
    'construction_vehicle': (205, 150, 90),
    'bicycle': (50, 225, 205),
    'motorcycle': (255, 105, 190),
    'pedestrian': (80, 160, 255),
    'traffic_cone': (165, 255, 60),
    'barrier': (0, 195, 110),
}
TRUTH_COLOR: Color = (255, 255, 255)


def class_colors(classes: Sequence[str]) -> np.ndarray:
    """Colours of ``classes``, (K, 3) uint8 RGB, in their order.

    nuScenes' ten detection classes have fixed colours; any other class takes the next one of matplotlib's ``tab20``.
    """
    spare = matplotlib.colormaps['tab20']
    colors = []
    for index, name in enumerate(classes):
        fallback = tuple(round(255 * channel) for channel in spare(index % spare.N)[:3])
        colors.append(CLASS_COLORS.get(name, fallback))
    return np.array(colors, dtype=np.uint8).reshape(-1, 3)


def as_color(row: np.ndarray) -> Color:
    """One row of :func:`class_colors` as the plain integers that OpenCV and PIL take."""
    red, green, blue = (int(channel) for channel in row)
    return red, green, blue
