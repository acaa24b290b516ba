"""Which camera shows which box."""
from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np

from ....geometry import MIN_DEPTH, project

BORDER = 0.02  # share of an image's width and height along its border, where a centre is neither clearly in nor out
# Corners of a box in units of its length, width and height; G boxes become (G, 8, 3) points.
CORNERS = np.array(list(product((-0.5, 0.5), repeat=3)))


class CameraViews(NamedTuple):
    """Where N cameras see G boxes."""

    shows: np.ndarray  # (N, G) bool: the box's centre lies clearly inside of the image
    touches: np.ndarray  # (N, G) bool: some of the box may be in the image; wherever ``shows`` is
    column: np.ndarray  # (N, G) float64: of the centre, 0 at the image's left border, 1 at its right; where ``shows``


def box_corners(boxes: np.ndarray) -> np.ndarray:
    """The corners ``(G, 8, 3)`` of boxes ``(G, 7)``: x, y, z of the gravity centre, length, width, height, yaw.

    LiDAR frame, metres and radians; the length lies along x at yaw 0, which grows from x towards y.
    """
    corners = CORNERS * boxes[:, None, 3:6]
    cosine, sine = np.cos(boxes[:, 6]), np.sin(boxes[:, 6])
    turn = np.stack((np.stack((cosine, sine), -1), np.stack((-sine, cosine), -1)), -2)  # rows: images of the x, y axis
    corners[..., :2] = corners[..., :2] @ turn
    return corners + boxes[:, None, :3]


def view_boxes(
    boxes: np.ndarray,  # (G, 7) as in box_corners
    lidar2img: np.ndarray,  # (N, 4, 4)
    image_sizes: np.ndarray,  # (N, 2) width, height, pixels
) -> CameraViews:
    """Look for every box in every camera.

    A box touches an image if the rectangle around its corners before the camera overlaps it: rather too often than too
    rarely, as a box that touches without being shown is one in doubt.
    """
    num_cameras, num_boxes = len(lidar2img), len(boxes)
    if not num_boxes:
        empty = np.zeros((num_cameras, 0))
        return CameraViews(empty.astype(bool), empty.astype(bool), empty)
    size = image_sizes[:, None].astype(np.float64)  # (N, 1, 2)
    centers, _, before = project(boxes[:, :3], lidar2img)
    shares = centers / size
    shows = before & ((shares >= BORDER) & (shares <= 1 - BORDER)).all(-1)
    pixels, depth, _ = project(box_corners(boxes).reshape(-1, 3), lidar2img)
    ahead = (depth > MIN_DEPTH).reshape(num_cameras, num_boxes, 8, 1)
    pixels = pixels.reshape(num_cameras, num_boxes, 8, 2)
    low = np.where(ahead, pixels, np.inf).min(2)  # (N, G, 2); inf where no corner is before the camera
    high = np.where(ahead, pixels, -np.inf).max(2)
    touches = ((low < size) & (high > 0)).all(-1)
    return CameraViews(shows, touches | shows, shares[..., 0])
