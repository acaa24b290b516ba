"""Boxes on the pictures of the cameras around the vehicle."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from mmengine.structures import InstanceData

from ..geometry import edit_cam2img, project, resize_matrix
from .palette import TRUTH_COLOR, Color, as_color, class_colors
from .text import draw_text, text_size
from .wireframe import box_edges_in_image, draw_segments, fill_polygon, front_face_in_image

SURROUND_LAYOUT = (('CAM_FRONT_LEFT', 'CAM_FRONT', 'CAM_FRONT_RIGHT'),
                   ('CAM_BACK_LEFT', 'CAM_BACK', 'CAM_BACK_RIGHT'))
GAP = 6  # pixels between panels
BACKGROUND = (16, 19, 26)  # RGB
_SHADOW = (12, 12, 12)  # a dark rim keeps a line visible on sky and on white cars
_CAPTION_BACKGROUND = (0, 0, 0)


def draw_camera_view(image: np.ndarray,
                     lidar2img: np.ndarray,
                     pred_instances_3d: InstanceData | None = None,
                     gt_instances_3d: InstanceData | None = None,
                     classes: Sequence[str] = (),
                     width: int | None = None,
                     caption: str = '') -> np.ndarray:
    """One camera's picture with predicted boxes (class colours, heading face tinted) and true ones (thin, white).

    Args:
        image: (H, W, 3) uint8 RGB; left as it is.
        lidar2img: (4, 4) from the LiDAR frame to pixels of ``image``.
        pred_instances_3d: ``bboxes_3d`` (``LiDARInstance3DBoxes``), ``labels_3d`` and, if there, ``scores_3d``.
        gt_instances_3d: ``bboxes_3d`` and ``labels_3d``; only the boxes are drawn.
        classes: names of the labels.
        width: width of the result in pixels, at the same aspect; None keeps the size. Lines are drawn after resizing.
        caption: written into the upper left corner.

    Returns:
        (H', W', 3) uint8 RGB.
    """
    height, original_width = image.shape[:2]
    size = (original_width, height) if width is None else (width, round(height * width / original_width))
    # INTER_AREA copies when nothing shrinks
    picture = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA)
    to_picture = edit_cam2img(np.asarray(lidar2img, np.float64),
                              resize_matrix(size[0] / original_width, size[1] / height))

    line = max(1, round(size[0] / 450))
    if gt_instances_3d is not None:
        corners = gt_instances_3d.bboxes_3d.corners.cpu().numpy()
        segments, _ = box_edges_in_image(corners, to_picture, size)
        draw_segments(picture, segments, _SHADOW, line + 1)
        draw_segments(picture, segments, TRUTH_COLOR, max(1, line - 1))
        for box in corners:
            fill_polygon(picture, front_face_in_image(box, to_picture, size), TRUTH_COLOR, opacity=0.15)
    if pred_instances_3d is not None:
        _draw_predictions(picture, to_picture, pred_instances_3d, classes, line)
    if caption:
        draw_text(picture, caption, (8, 6), max(11, size[0] // 46), background=_CAPTION_BACKGROUND, opacity=0.45)
    return picture


def _draw_predictions(picture: np.ndarray, lidar2img: np.ndarray, instances: InstanceData, classes: Sequence[str],
                      line: int) -> None:
    """Predicted boxes, the farthest first, each with a label if it is large enough to carry one."""
    size = (picture.shape[1], picture.shape[0])
    corners = instances.bboxes_3d.corners.cpu().numpy()
    labels = instances.labels_3d.cpu().numpy()
    scores = instances.scores_3d.cpu().numpy() if 'scores_3d' in instances else None
    colors = class_colors(classes)
    depth = project(corners.mean(axis=1), lidar2img[None])[1][0]
    segments, box = box_edges_in_image(corners, lidar2img, size)
    captions = []
    for index in np.argsort(-depth):
        edges = segments[box == index]
        if len(edges) == 0:
            continue
        color = as_color(colors[labels[index]])
        fill_polygon(picture, front_face_in_image(corners[index], lidar2img, size), color, opacity=0.35)
        draw_segments(picture, edges, _SHADOW, line + 2)
        draw_segments(picture, edges, color, line)
        left, top = edges.reshape(-1, 2).min(axis=0)
        if np.ptp(edges.reshape(-1, 2), axis=0).max() > size[0] / 16:
            score = '' if scores is None else f' {scores[index]:.2f}'
            captions.append((f'{classes[labels[index]]}{score}', int(left), int(top), color))
    _draw_captions(picture, captions[::-1])


def _draw_captions(picture: np.ndarray, captions: Sequence[tuple[str, int, int, Color]]) -> None:
    """Write ``(text, left, top, color)`` above boxes, the nearest first; one that would cover another is left out."""
    font_size = max(9, picture.shape[1] // 64)
    taken: list[tuple[int, int, int, int]] = []
    for text, left, top, color in captions:
        width, height = text_size(text, font_size)
        x = min(max(left, 3), max(picture.shape[1] - width - 3, 3))
        y = max(top - height - 2, 3)
        if any(x < x1 and x0 < x + width and y < y1 and y0 < y + height for x0, y0, x1, y1 in taken):
            continue
        taken.append((x, y, x + width, y + height))
        draw_text(picture, text, (x, y), font_size, color=color, background=_CAPTION_BACKGROUND, opacity=0.55,
                  padding=1)


def draw_surround_view(images: Mapping[str, np.ndarray],
                       lidar2img: Mapping[str, np.ndarray],
                       pred_instances_3d: InstanceData | None = None,
                       gt_instances_3d: InstanceData | None = None,
                       classes: Sequence[str] = (),
                       panel_width: int = 640,
                       layout: Sequence[Sequence[str]] = SURROUND_LAYOUT) -> np.ndarray:
    """All cameras in one picture, as the vehicle's surroundings lie: front row above, back row below.

    Args:
        images: camera name to (H, W, 3) uint8 RGB, all of one aspect.
        lidar2img: camera name to (4, 4), from the LiDAR frame to pixels of that image.
        pred_instances_3d: as in :func:`draw_camera_view`.
        gt_instances_3d: as in :func:`draw_camera_view`.
        classes: names of the labels.
        panel_width: width of one camera's panel, pixels.
        layout: rows of camera names.

    Returns:
        (H', W', 3) uint8 RGB.

    Raises:
        KeyError: a camera of the layout has no image or no matrix.
    """
    missing = [name for row in layout for name in row if name not in images or name not in lidar2img]
    if missing:
        raise KeyError(f'the layout wants an image and a lidar2img matrix of {", ".join(missing)}; images are there of '
                       f'{", ".join(images) or "none"}, matrices of {", ".join(lidar2img) or "none"}')
    panels = [[
        draw_camera_view(images[name], lidar2img[name], pred_instances_3d, gt_instances_3d, classes, panel_width,
                         caption=name.removeprefix('CAM_').replace('_', ' ').lower()) for name in row
    ] for row in layout]
    heights = [max(panel.shape[0] for panel in row) for row in panels]
    columns = max(len(row) for row in panels)
    canvas = np.full((sum(heights) + GAP * (len(heights) - 1), columns * (panel_width + GAP) - GAP, 3), BACKGROUND,
                     np.uint8)
    top = 0
    for row, height in zip(panels, heights):
        for column, panel in enumerate(row):
            left = column * (panel_width + GAP)
            canvas[top:top + panel.shape[0], left:left + panel_width] = panel
        top += height + GAP
    return canvas
