"""3D boxes as lines and faces on an image, cut at the camera's near plane and at the image's border.

Corners are those of mmdet3d's ``LiDARInstance3DBoxes.corners``; the front face (heading) is 4-5-6-7::

                 5 -------- 6
                /|         /|           up z   x front (yaw = 0)
               / |        / |               ^  ^
              1 -------- 2  |               | /
              |  4 ------|- 7               |/
              | /        | /     left y <---+
              0 -------- 3                   (the order of the corners, not their sides, matters here)
"""
from __future__ import annotations

import cv2
import numpy as np

from ..geometry import project
from .palette import Color

EDGES = np.array([(0, 1), (1, 2), (2, 3), (3, 0),  # rear face
                  (4, 5), (5, 6), (6, 7), (7, 4),  # front face
                  (0, 4), (1, 5), (2, 6), (3, 7)])
FRONT_FACE = np.array([4, 5, 6, 7])
_SUBPIXEL_BITS = 4  # OpenCV draws at 1/16 pixel


def clip_segments(start: np.ndarray, end: np.ndarray, start_height: np.ndarray,
                  end_height: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut segments at a half-space, of which ``height >= 0`` is kept.

    Args:
        start, end: (K, D) end points.
        start_height, end_height: (K,) signed distances of the end points to the plane, in any one unit.

    Returns:
        ``start`` (K', D), ``end`` (K', D) and ``kept`` (K',), the indices of the segments of which something is left.
    """
    kept = np.flatnonzero((start_height >= 0) | (end_height >= 0))
    start, end, start_height, end_height = start[kept], end[kept], start_height[kept], end_height[kept]
    span = start_height - end_height
    fraction = np.divide(start_height, span, out=np.zeros_like(span), where=span != 0)[:, None]
    crossing = start + fraction * (end - start)
    return (np.where((start_height < 0)[:, None], crossing, start),
            np.where((end_height < 0)[:, None], crossing, end), kept)


def clip_polygon(points: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Cut a convex polygon at a half-space, of which ``height >= 0`` is kept (Sutherland and Hodgman, 1974).

    Args:
        points: (K, D) corners in order, not closed.
        height: (K,) signed distances of the corners to the plane.

    Returns:
        (K', D) corners of what is left; K' is 0 where nothing is.
    """
    kept = []
    for index in range(len(points)):
        following = (index + 1) % len(points)
        if height[index] >= 0:
            kept.append(points[index])
        if (height[index] >= 0) != (height[following] >= 0):
            fraction = height[index] / (height[index] - height[following])
            kept.append(points[index] + fraction * (points[following] - points[index]))
    return np.array(kept).reshape(-1, points.shape[1])


def _to_image(points: np.ndarray, lidar2img: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (P, 2) and depth (P,) of (P, 3) points in one camera."""
    pixels, depth, _ = project(points, np.asarray(lidar2img, dtype=np.float64)[None])
    return pixels[0], depth[0]


def _border_heights(pixels: np.ndarray, image_size: tuple[int, int]) -> list[np.ndarray]:
    """Signed distances, in pixels, of (..., 2) pixels to the left, right, upper and lower border of an image."""
    width, height = image_size
    return [pixels[..., 0], width - pixels[..., 0], pixels[..., 1], height - pixels[..., 1]]


def box_edges_in_image(corners: np.ndarray, lidar2img: np.ndarray, image_size: tuple[int, int],
                       near: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """What an image shows of the edges of boxes.

    Args:
        corners: (K, 8, 3) in the LiDAR frame, metres.
        lidar2img: (4, 4) from the LiDAR frame to pixels of this image.
        image_size: (width, height) in pixels.
        near: depth of the near plane, metres. What is nearer to the camera, or behind it, is cut off in 3D.

    Returns:
        ``segments`` (M, 2, 2), pixel (x, y) of both ends, and ``box`` (M,), the box that each belongs to.
    """
    corners = np.asarray(corners, dtype=np.float64).reshape(-1, 8, 3)
    start, end = corners[:, EDGES[:, 0]].reshape(-1, 3), corners[:, EDGES[:, 1]].reshape(-1, 3)
    box = np.repeat(np.arange(len(corners)), len(EDGES))
    start, end, kept = clip_segments(start, end, _to_image(start, lidar2img)[1] - near,
                                     _to_image(end, lidar2img)[1] - near)
    box = box[kept]
    start, end = _to_image(start, lidar2img)[0], _to_image(end, lidar2img)[0]
    for side in range(4):
        start, end, kept = clip_segments(start, end, _border_heights(start, image_size)[side],
                                         _border_heights(end, image_size)[side])
        box = box[kept]
    return np.stack([start, end], axis=1), box


def front_face_in_image(corners: np.ndarray, lidar2img: np.ndarray, image_size: tuple[int, int],
                        near: float = 0.1) -> np.ndarray:
    """What an image shows of the front face of one box: (K', 2) pixels, a convex polygon, empty if not in sight.

    Args:
        corners: (8, 3) in the LiDAR frame, metres.
        lidar2img: (4, 4) from the LiDAR frame to pixels of this image.
        image_size: (width, height) in pixels.
        near: depth of the near plane, metres.
    """
    face = np.asarray(corners, dtype=np.float64)[FRONT_FACE]
    face = clip_polygon(face, _to_image(face, lidar2img)[1] - near)
    pixels = _to_image(face, lidar2img)[0]
    for side in range(4):
        pixels = clip_polygon(pixels, _border_heights(pixels, image_size)[side])
    return pixels


def draw_segments(image: np.ndarray, segments: np.ndarray, color: Color, thickness: int) -> None:
    """Draw (M, 2, 2) pixel segments into ``image`` (H, W, 3) uint8, in place."""
    if len(segments):
        cv2.polylines(image, list(_to_fixed_point(segments)), False, color, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def fill_polygon(image: np.ndarray, polygon: np.ndarray, color: Color, opacity: float) -> None:
    """Blend a (K, 2) convex polygon into ``image`` (H, W, 3) uint8, in place; fewer than 3 corners draw nothing."""
    if len(polygon) < 3:
        return
    # only the polygon's surroundings are blended: a picture holds hundreds of small faces
    x0, y0 = np.maximum(np.floor(polygon.min(axis=0)).astype(int) - 1, 0)
    x1, y1 = np.ceil(polygon.max(axis=0)).astype(int) + 2
    window = image[y0:y1, x0:x1]
    if window.size == 0:
        return
    filled = window.copy()
    cv2.fillConvexPoly(filled, _to_fixed_point(polygon - (x0, y0)), color, cv2.LINE_AA, _SUBPIXEL_BITS)
    window[:] = cv2.addWeighted(filled, opacity, window, 1 - opacity, 0)


def _to_fixed_point(pixels: np.ndarray) -> np.ndarray:
    """Pixels of this project (column j covers [j, j + 1)) as OpenCV's integers (column j is centred at j)."""
    return np.round((pixels - 0.5) * 2**_SUBPIXEL_BITS).astype(np.int32)
