"""Where one query looks: its attention on all cameras, beside its point and box from above."""
from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from mmengine.structures import InstanceData

from ..geometry import edit_cam2img, resize_matrix
from .attention_heat import QueryLook, attention_density, lay_heat
from .birds_eye_view import draw_birds_eye_view
from .camera_view import BACKGROUND, GAP, SURROUND_LAYOUT, draw_surround_view
from .frame_source import Frame
from .palette import TRUTH_COLOR, Color
from .text import draw_text, text_size
from .wireframe import box_edges_in_image, draw_segments

_STRIP = 38  # height of the title and of the legend, pixels
_MUTED, _LETTERS = (150, 160, 178), (222, 227, 236)  # RGB
_QUERY: Color = (64, 224, 255)  # a cyan that the heat does not have
_RIM: Color = (12, 12, 12)  # around it: visible on sky and on white cars
_OTHER_POINTS: Color = (104, 124, 164)
_FOOTPRINT = (0, 3, 7, 4)  # corners of a box's bottom face, in order; 4 and 7 are the front ones


def draw_attention(frame: Frame,
                   look: QueryLook,
                   reference_points: np.ndarray,
                   query: int,
                   pred_instances_3d: InstanceData | None = None,
                   title: str = '',
                   panel_width: int = 640,
                   extent: float = 55.0,
                   layout: Sequence[Sequence[str]] = SURROUND_LAYOUT) -> np.ndarray:
    """Attention of one query on all cameras; its point and box, all points and the true boxes from above.

    Heat is attention by area, from 0 to the largest value in any of the images, which the legend states as a multiple
    of an even spread. The number in a camera's corner is its share of the whole.

    Args:
        frame: The frame as it was recorded.
        look: Where the query looked, with the cameras of the frame.
        reference_points: (Q, 3) of all queries in the LiDAR frame, metres.
        query: Which of them this is.
        pred_instances_3d: What the query predicts: ``bboxes_3d`` is drawn; or None.
        title: Written above.
        panel_width: Width of one camera's panel, pixels.
        extent: Half the side of the bird's-eye view, metres.
        layout: Rows of camera names.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        KeyError: A camera of the layout has no image or no attention.
    """
    corners = np.zeros((0, 8, 3)) if pred_instances_3d is None else pred_instances_3d.bboxes_3d.corners.cpu().numpy()
    cameras, top = _draw_cameras(frame, look, corners, panel_width, layout)
    size = cameras.shape[0]
    above = draw_birds_eye_view(None, frame.gt_instances_3d, extent=extent, size=size)
    _draw_query_from_above(above, np.asarray(reference_points)[:, :2], query, corners, extent)

    canvas = np.full((_STRIP + size + _STRIP, cameras.shape[1] + GAP + size, 3), BACKGROUND, np.uint8)
    canvas[_STRIP:-_STRIP, :cameras.shape[1]] = cameras
    canvas[_STRIP:-_STRIP, cameras.shape[1] + GAP:] = above
    draw_text(canvas, title, (10, 8), 17, bold=True)
    note = "per cent: a camera's share of the attention; seen from above, forward is up"
    draw_text(canvas, note, (canvas.shape[1] - text_size(note, 15)[0] - 10, 10), 15, color=_MUTED)
    _draw_legend(canvas[-_STRIP:], top)
    return canvas


def _draw_cameras(frame: Frame, look: QueryLook, corners: np.ndarray, width: int,
                  layout: Sequence[Sequence[str]]) -> tuple[np.ndarray, float]:
    """All cameras in one picture, and the density at full heat."""
    names = [name for row in layout for name in row]
    missing = [name for name in names if name not in frame.images or name not in look.maps]
    if missing:
        raise KeyError(f'the layout wants an image and attention of {", ".join(missing)}; images are there of '
                       f'{", ".join(frame.images) or "none"}, attention of {", ".join(look.maps) or "none"}')
    sizes, density = {}, {}
    for name in names:
        recorded_height, recorded_width = frame.images[name].shape[:2]
        sizes[name] = (width, round(recorded_height * width / recorded_width))
        density[name] = attention_density(look, name, recorded_width, sizes[name])
    top = max(float(values.max()) for values in density.values())

    panels, lidar2panel = {}, {}
    for name, size in sizes.items():
        panel = cv2.resize(frame.images[name], size, interpolation=cv2.INTER_AREA)
        panel = lay_heat(panel, density[name] / (top or 1))
        scale = width / frame.images[name].shape[1]
        lidar2panel[name] = edit_cam2img(frame.lidar2img[name], resize_matrix(scale, scale))
        _draw_lines(panel, box_edges_in_image(corners, lidar2panel[name], size)[0])
        if name in look.points:
            recorded = np.linalg.inv(look.image_maps[name]) @ (*look.points[name], 1.0)
            _draw_point(panel, recorded[:2] * scale)
        share = f'{look.share(name):.0%}'
        draw_text(panel, share, (width - text_size(share, 20, bold=True)[0] - 10, 6), 20, bold=True,
                  background=(0, 0, 0), opacity=0.45, color=_MUTED if share == '0%' else (255, 255, 255))
        panels[name] = panel
    return draw_surround_view(panels, lidar2panel, panel_width=width, layout=layout), top


def _draw_query_from_above(picture: np.ndarray, points: np.ndarray, query: int, corners: np.ndarray,
                           extent: float) -> None:
    """All points (Q, 2) in metres, the query's own and its box, into a bird's-eye view; in place."""
    def to_pixels(places: np.ndarray) -> np.ndarray:
        return (places * (1, -1) + extent) * len(picture) / (2 * extent)

    for point in to_pixels(points):
        cv2.circle(picture, _fixed_point(point), 2 * 16, _OTHER_POINTS, -1, cv2.LINE_AA, 4)
    for footprint in corners[:, _FOOTPRINT, :2]:
        heading = np.stack([footprint.mean(axis=0), footprint[2:].mean(axis=0)])
        sides = np.stack([footprint, np.roll(footprint, -1, axis=0)], axis=1)
        _draw_lines(picture, to_pixels(np.concatenate([sides, heading[None]])))
    _draw_point(picture, to_pixels(points[query]), radius=7)


def _draw_lines(picture: np.ndarray, segments: np.ndarray) -> None:
    """Segments (M, 2, 2) in pixels; in place."""
    line = max(1, round(picture.shape[1] / 450))  # as in the other camera pictures
    draw_segments(picture, segments, _RIM, line + 2)
    draw_segments(picture, segments, _QUERY, line)


def _draw_point(picture: np.ndarray, pixel: np.ndarray, radius: int = 8) -> None:
    """A dot in a ring; in place."""
    for size, thickness, color in ((radius, 4, _RIM), (radius, 2, _QUERY), (3, -1, _RIM), (2, -1, _QUERY)):
        cv2.circle(picture, _fixed_point(pixel), size * 16, color, thickness, cv2.LINE_AA, 4)


def _fixed_point(pixel: np.ndarray) -> tuple[int, int]:
    """A pixel of this project (column j covers [j, j + 1)) in OpenCV's sixteenths (column j is centred at j)."""
    x, y = (round(float(number - 0.5) * 16) for number in pixel)
    return x, y


def _draw_legend(strip: np.ndarray, top: float) -> None:
    """The colour bar with its scale, then what points and lines mean; written into ``strip`` (H, W, 3) in place."""
    middle = strip.shape[0] // 2

    def write(text: str, x: int) -> int:
        draw_text(strip, text, (x, middle - 9), 15, color=_LETTERS)
        return x + text_size(text, 15)[0]

    x = write('attention by area: 0', 10) + 8
    bar = lay_heat(np.full((14, 220, 3), 90, np.uint8), np.broadcast_to(np.linspace(0, 1, 220), (14, 220)))
    strip[middle - 7:middle + 7, x:x + 220] = bar
    x = write(f'{top:.3g} times an even spread' if top else 'nothing attended', x + 228) + 40
    _draw_point(strip, np.array((x + 9.5, middle + 0.5)))
    x = write('point that the query looks from', x + 27) + 24
    cv2.rectangle(strip, (x, middle - 6), (x + 18, middle + 6), _QUERY, 2)
    x = write('its box', x + 27) + 24
    cv2.circle(strip, (x + 9, middle), 3, _OTHER_POINTS, -1, cv2.LINE_AA)
    x = write('points of the other queries', x + 27) + 24
    cv2.rectangle(strip, (x, middle - 6), (x + 18, middle + 6), TRUTH_COLOR, 1)
    write('true boxes', x + 27)
