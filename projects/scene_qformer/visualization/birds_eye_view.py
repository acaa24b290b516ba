"""The scene from above, in the LiDAR frame of nuScenes: y (forward) points up, x (right) points right."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch
from mmengine.structures import InstanceData

from .palette import TRUTH_COLOR, class_colors

_BACKGROUND = '#10131a'
_RING = '#3d4658'
_RING_LABEL = '#8793aa'
_EGO = '#e8ecf4'
_FOOTPRINT = (0, 3, 7, 4)  # the corners of the bottom face, in order; 4 and 7 are the front ones
_VELOCITY_HORIZON = 1.0  # an arrow is as long as the way of this many seconds
_SLOWEST_ARROW = 0.3  # m/s; below it an arrow would be a dot
# nuScenes' vehicle is a Renault Zoe, 4.08 m x 1.73 m; LIDAR_TOP sits about 0.94 m before its rear axle, whose
# distance to the rear end is about 0.7 m (the right place to the decimetre is enough for a picture)
_EGO_LENGTH, _EGO_WIDTH, _EGO_REAR = 4.08, 1.73, -1.63


def draw_birds_eye_view(pred_instances_3d: InstanceData | None = None,
                        gt_instances_3d: InstanceData | None = None,
                        classes: Sequence[str] = (),
                        points: np.ndarray | None = None,
                        extent: float = 55.0,
                        size: int = 726) -> np.ndarray:
    """Predicted boxes (class colours, filled by score) and true ones (white outlines) from above.

    A stroke from the centre to the front edge shows the heading, an arrow from the front edge the way of one second.

    Args:
        pred_instances_3d: ``bboxes_3d`` (``LiDARInstance3DBoxes``, velocity in columns 7 and 8 if there), ``labels_3d``
            and, if there, ``scores_3d``.
        gt_instances_3d: ``bboxes_3d`` and ``labels_3d``.
        classes: names of the labels.
        points: (P, 2 or more) LiDAR points, drawn as a faint background.
        extent: half the side of the square that is shown, metres.
        size: side of the picture, pixels.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    figure = Figure(figsize=(size / 100, size / 100), dpi=100, facecolor=_BACKGROUND)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-extent, extent), ylim=(-extent, extent), aspect='equal')
    axes.set_axis_off()

    if points is not None and len(points):
        axes.scatter(points[:, 0], points[:, 1], s=0.35, c='#55617a', linewidths=0, zorder=1)
    _draw_rings(axes, extent)
    axes.add_patch(FancyBboxPatch((-_EGO_WIDTH / 2 + 0.3, _EGO_REAR + 0.3), _EGO_WIDTH - 0.6, _EGO_LENGTH - 0.6,
                                  boxstyle='round,pad=0.3', facecolor=_EGO, edgecolor='none', zorder=3))
    axes.fill([-0.55, 0.55, 0.4, -0.4], [1.3, 1.3, 0.6, 0.6], color=_BACKGROUND, zorder=3.1)  # windscreen: the front

    if gt_instances_3d is not None and len(gt_instances_3d.bboxes_3d):
        color = np.array(TRUTH_COLOR) / 255
        _draw_boxes(axes, gt_instances_3d, np.tile(color, (len(gt_instances_3d.bboxes_3d), 1)), np.zeros(1), 1.0, 4)
    if pred_instances_3d is not None and len(pred_instances_3d.bboxes_3d):
        color = class_colors(classes)[pred_instances_3d.labels_3d.cpu().numpy()] / 255
        scores = pred_instances_3d.scores_3d.cpu().numpy() if 'scores_3d' in pred_instances_3d else np.ones(len(color))
        _draw_boxes(axes, pred_instances_3d, color, 0.15 + 0.55 * np.clip(scores, 0, 1), 1.5, 5)

    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _draw_rings(axes, extent: float) -> None:
    """Range rings with their metres, and a cross through the origin."""
    step = 10 if extent > 25 else 5
    for radius in range(step, int(extent * 1.4) + 1, step):
        axes.add_patch(Circle((0, 0), radius, fill=False, edgecolor=_RING, linewidth=0.8, zorder=2))
        if radius < extent - 2:
            axes.text(radius * np.sin(np.pi / 4), -radius * np.cos(np.pi / 4), f'{radius} m', color=_RING_LABEL,
                      fontsize=7.5, ha='center', va='center', zorder=8,
                      bbox=dict(facecolor=_BACKGROUND, edgecolor='none', pad=0.8, alpha=0.6))
    axes.axhline(0, color=_RING, linewidth=0.5, zorder=2)
    axes.axvline(0, color=_RING, linewidth=0.5, zorder=2)


def _draw_boxes(axes, instances: InstanceData, colors: np.ndarray, opacity: np.ndarray, line_width: float,
                zorder: float) -> None:
    """Footprints with heading stroke and velocity arrow; ``colors`` (K, 3) in 0..1, ``opacity`` (K,) or (1,)."""
    boxes = instances.bboxes_3d
    footprints = boxes.corners.cpu().numpy()[:, _FOOTPRINT, :2]
    faces = np.concatenate([colors, np.broadcast_to(opacity[:, None], (len(colors), 1))], axis=1)
    axes.add_collection(PolyCollection(footprints, facecolors=faces, edgecolors=colors, linewidths=line_width,
                                       zorder=zorder))
    center, front = footprints.mean(axis=1), footprints[:, 2:].mean(axis=1)
    axes.add_collection(LineCollection(np.stack([center, front], axis=1), colors=colors, linewidths=line_width,
                                       zorder=zorder))
    if boxes.tensor.shape[1] < 9:
        return
    velocity = np.nan_to_num(boxes.tensor[:, 7:9].cpu().numpy())  # nuScenes gives NaN where it is not known
    for start, way, color in zip(front, velocity * _VELOCITY_HORIZON, colors):
        if np.hypot(*way) >= _SLOWEST_ARROW * _VELOCITY_HORIZON:
            axes.annotate('', start + way, start, zorder=zorder + 0.5,
                          arrowprops=dict(arrowstyle='-|>,head_length=0.3,head_width=0.15', color=color,
                                          linewidth=line_width, shrinkA=0, shrinkB=0))
