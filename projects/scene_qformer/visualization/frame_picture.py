"""One frame in one picture: a title, all cameras, the bird's-eye view beside them, a legend."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from mmengine.structures import InstanceData

from .birds_eye_view import draw_birds_eye_view
from .camera_view import BACKGROUND, GAP, SURROUND_LAYOUT, draw_surround_view
from .palette import TRUTH_COLOR, as_color, class_colors
from .text import draw_text, text_size

_STRIP = 38  # height of the title and of the legend, pixels
_MUTED = (150, 160, 178)  # RGB


def draw_frame(images: Mapping[str, np.ndarray],
               lidar2img: Mapping[str, np.ndarray],
               pred_instances_3d: InstanceData | None = None,
               gt_instances_3d: InstanceData | None = None,
               classes: Sequence[str] = (),
               points: np.ndarray | None = None,
               title: str = '',
               panel_width: int = 640,
               extent: float = 55.0,
               layout: Sequence[Sequence[str]] = SURROUND_LAYOUT) -> np.ndarray:
    """Predicted and true boxes of one frame on all cameras and from above.

    Args:
        images: camera name to (H, W, 3) uint8 RGB.
        lidar2img: camera name to (4, 4), from the LiDAR frame to pixels of that image.
        pred_instances_3d: ``bboxes_3d`` (``LiDARInstance3DBoxes``), ``labels_3d``, ``scores_3d``; or None.
        gt_instances_3d: ``bboxes_3d``, ``labels_3d``; or None.
        classes: names of the labels.
        points: (P, 2 or more) LiDAR points for the bird's-eye view; or None.
        title: written above.
        panel_width: width of one camera's panel, pixels.
        extent: half the side of the bird's-eye view, metres.
        layout: rows of camera names.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        KeyError: a camera of the layout has no image or no matrix.
    """
    cameras = draw_surround_view(images, lidar2img, pred_instances_3d, gt_instances_3d, classes, panel_width, layout)
    above = draw_birds_eye_view(pred_instances_3d, gt_instances_3d, classes, points, extent, size=cameras.shape[0])
    width = cameras.shape[1] + GAP + above.shape[1]
    canvas = np.full((_STRIP + cameras.shape[0] + _STRIP, width, 3), BACKGROUND, np.uint8)
    canvas[_STRIP:-_STRIP, :cameras.shape[1]] = cameras
    canvas[_STRIP:-_STRIP, cameras.shape[1] + GAP:] = above

    draw_text(canvas, title, (10, 8), 17, bold=True)
    counts = [f'{len(instances.bboxes_3d)} {name}' for name, instances in
              (('predicted', pred_instances_3d), ('true', gt_instances_3d)) if instances is not None]
    note = f'{", ".join(counts)} boxes; seen from above, forward is up' if counts else 'seen from above, forward is up'
    draw_text(canvas, note, (width - text_size(note, 15)[0] - 10, 10), 15, color=_MUTED)
    _draw_legend(canvas[-_STRIP:], classes, pred_instances_3d is not None, gt_instances_3d is not None)
    return canvas


def _draw_legend(strip: np.ndarray, classes: Sequence[str], with_predictions: bool, with_truth: bool) -> None:
    """A line of colour plates with names, written into ``strip`` (H, W, 3) in place."""
    x, middle = 10, strip.shape[0] // 2
    entries = [('true box', TRUTH_COLOR, False)] if with_truth else []
    if with_predictions:
        entries += [(f'predicted {name}' if index == 0 else name, as_color(color), True)
                    for index, (name, color) in enumerate(zip(classes, class_colors(classes)))]
    for name, color, filled in entries:
        strip[middle - 6:middle + 7, x:x + 18] = color
        if not filled:
            strip[middle - 5:middle + 6, x + 1:x + 17] = BACKGROUND
        draw_text(strip, name, (x + 25, middle - 9), 15, color=(222, 227, 236))
        x += 25 + text_size(name, 15)[0] + 22
    note = 'tinted face: front; arrow: way of one second'
    draw_text(strip, note, (strip.shape[1] - text_size(note, 15)[0] - 10, middle - 9), 15, color=_MUTED)
