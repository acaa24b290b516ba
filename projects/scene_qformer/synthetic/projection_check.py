"""Compares rendered objects with the projections of their annotation boxes, as nuscenes-devkit computes them."""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from nuscenes.utils.data_classes import Box
from nuscenes.utils.geometry_utils import view_points

from .rasterizer import NEAR
from .renderer import RenderedView

_EDGES = np.array([[0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 6], [6, 7], [7, 4], [0, 4], [1, 5], [2, 6], [3, 7]])


@dataclass(frozen=True)
class ObjectCheck:
    """One object in one image."""

    category: str
    distance: float  # metres from the camera to the box's centre
    pixels: int  # that show the object
    worst: float  # pixels: how far the farthest of them lies outside of the projected box; negative: inside
    fill: float | None  # share of the projected box that the object covers; None if it is hidden, cut off or tiny


def projected_hull(box: Box, cam2img: np.ndarray) -> np.ndarray | None:
    """Outline of a box in the image.

    Args:
        box: In the camera frame.
        cam2img: (3, 3) intrinsics.

    Returns:
        np.ndarray | None: (K, 2) convex polygon in pixels, unbounded by the image; None if the box lies behind the
        camera. The part of the box behind the near plane is cut off first, for its projection means nothing.
    """
    corners = box.corners()
    depth = corners[2]
    points = [corners[:, depth >= NEAR]]
    for start, end in _EDGES:
        if (depth[start] < NEAR) != (depth[end] < NEAR):
            part = (NEAR - depth[start]) / (depth[end] - depth[start])
            points.append((corners[:, start] + part * (corners[:, end] - corners[:, start]))[:, None])
    kept = np.concatenate(points, axis=1)
    if kept.shape[1] < 3:
        return None
    pixels = view_points(kept, cam2img, normalize=True)[:2].T
    return cv2.convexHull(np.clip(pixels, -1e6, 1e6).astype(np.float32))[:, 0].astype(np.float64)


def outside_distance(hull: np.ndarray, points: np.ndarray) -> float:
    """How far the farthest of (P, 2) points lies outside of a convex polygon, pixels; negative if all lie inside."""
    start, end = hull, np.roll(hull, -1, axis=0)
    along = end - start
    length = np.linalg.norm(along, axis=1)
    keep = length > 1e-6
    start, along = start[keep], along[keep] / length[keep, None]
    turn = np.sign(np.sum(hull[:, 0] * np.roll(hull[:, 1], -1) - hull[:, 1] * np.roll(hull[:, 0], -1)))
    normal = turn * np.stack([along[:, 1], -along[:, 0]], axis=1)
    beyond = points @ normal.T - np.sum(start * normal, axis=1)
    farthest = beyond.max(axis=1)
    worst = float(farthest.max())
    if worst <= 0:
        return worst
    outline = hull.astype(np.float32)[:, None]
    return max(-cv2.pointPolygonTest(outline, (float(x), float(y)), True) for x, y in points[farthest > 0])


def check_view(view: RenderedView, boxes: list[tuple[int, Box]], cam2img: np.ndarray,
               min_pixels: int = 150) -> list[ObjectCheck]:
    """Check every object that a view shows.

    Args:
        view: The rendered view.
        boxes: Instance number and box in the camera frame of every annotation of the frame.
        cam2img: (3, 3) intrinsics.
        min_pixels: Objects that cover fewer pixels are too small to measure how well they fill their box.

    Returns:
        list[ObjectCheck]: One for each visible object. Pixel (row i, column j) is tested as the point (j, i), as a
        user of the image would.

    Raises:
        ValueError: If the view shows an instance that has no box in front of the camera.
    """
    assert view.instance_ids is not None
    height, width = view.instance_ids.shape
    flat = view.instance_ids.ravel()
    where = np.flatnonzero(flat)
    where = where[np.argsort(flat[where], kind='stable')]
    instances, starts = np.unique(flat[where], return_index=True)
    groups = dict(zip(instances.tolist(), np.split(where, starts[1:])))
    known = dict(boxes)
    checks = []
    for instance, pixels in groups.items():
        hull = projected_hull(known[instance], cam2img) if instance in known else None
        if hull is None:
            raise ValueError(f'the view shows instance {instance}, which has no annotation in front of the camera')
        box = known[instance]
        points = np.stack([pixels % width, pixels // width], axis=1).astype(np.float64)
        amodal = view.amodal_pixels[instance]
        inside = (hull >= 0).all() and (hull <= [width, height]).all()
        fill = None
        if inside and amodal == len(pixels) and amodal >= min_pixels:
            fill = amodal / cv2.contourArea(hull.astype(np.float32))
        checks.append(ObjectCheck(box.name, float(np.linalg.norm(box.center)), len(pixels),
                                  outside_distance(hull, points), fill))
    return checks
