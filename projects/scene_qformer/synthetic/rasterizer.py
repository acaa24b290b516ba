"""A z-buffered triangle rasteriser, compiled by numba.

Pixel rule: the pixel in column j and row i is covered by a triangle that contains its centre (j + 0.5, i + 0.5); a
point (x, y, z) of the camera frame lies at u = fx x / z + cx, v = fy y / z + cy. Depth and attributes are interpolated
linearly in ``1 / z``, which is perspective-correct.

The rasteriser fills two images, the inverse depth and the index of the nearest screen triangle; colours are computed
afterwards, once per pixel, from the screen triangle's attributes (`shading`). No ``fastmath``: the same input gives the
same bytes.
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from .meshes import GLASS, PAINT

NEAR = 0.1  # metres: triangles are cut here, so that objects right beside the camera stay correct
NUM_ATTRIBUTES = 4
GRADIENTS = 2 + 3 * (1 + NUM_ATTRIBUTES)  # x0, y0, then (value at x0 y0, d/dx, d/dy) of 1/z and of attributes / z


class Buffers(NamedTuple):
    """What one view is drawn into; made once per image size and used again."""

    inv_depth: np.ndarray  # (H, W) float32, 1 / z in 1/m; 0: nothing drawn
    triangle: np.ndarray  # (H, W) int32, index of the screen triangle in front; -1: nothing drawn
    stamp: np.ndarray  # (H, W) int32, the last object that touched the pixel
    gradients: np.ndarray  # (S, GRADIENTS) float64, of each screen triangle
    looks: np.ndarray  # (S, 4) float32, B, G, R albedo and material of each screen triangle
    owner: np.ndarray  # (S,) int32, object index; -1 for props


class Geometry(NamedTuple):
    """Packed meshes of several objects, posed in a common frame (global axes, metres, some origin near the rig)."""

    positions: np.ndarray  # (T, 3, 3) float64
    normals: np.ndarray  # (T, 3, 3) float64
    attributes: np.ndarray  # (T, 3, 4) float64: sunlight, ambient light, u, v
    looks: np.ndarray  # (T, 4) float32: B, G, R albedo and material
    starts: np.ndarray  # (M + 1,) int64, first triangle of each object
    spheres: np.ndarray  # (M, 4) float64, bounding sphere of each object: x, y, z, radius


def make_buffers(height: int, width: int, capacity: int) -> Buffers:
    """Buffers for (height, width) images with up to ``capacity`` screen triangles."""
    return Buffers(np.zeros((height, width), np.float32), np.full((height, width), -1, np.int32),
                   np.full((height, width), -1, np.int32), np.zeros((capacity, GRADIENTS)),
                   np.zeros((capacity, 4), np.float32), np.zeros(capacity, np.int32))


@njit(cache=True, error_model='numpy')
def _fill(inv_depth, triangle, stamp, index, token, v0, v1, v2, gradient):
    """Draw one screen triangle; returns how many pixels it covers that its object (``token``) had not covered yet."""
    height, width = inv_depth.shape
    fresh = 0
    low = min(v0[1], v1[1], v2[1])
    high = max(v0[1], v1[1], v2[1])
    first = max(0, int(np.ceil(max(low, -1.0) - 0.5)))
    last = min(height - 1, int(np.floor(min(high, height + 1.0) - 0.5)))
    # Edge k: a x + b y + c >= 0 inside. Both triangles at a shared edge get exactly opposite numbers: no gaps.
    a0, b0, c0 = v0[1] - v1[1], v1[0] - v0[0], v0[0] * v1[1] - v1[0] * v0[1]
    a1, b1, c1 = v1[1] - v2[1], v2[0] - v1[0], v1[0] * v2[1] - v2[0] * v1[1]
    a2, b2, c2 = v2[1] - v0[1], v0[0] - v2[0], v2[0] * v0[1] - v0[0] * v2[1]
    x0, y0, z0, zx, zy = gradient[0], gradient[1], gradient[2], gradient[3], gradient[4]
    for i in range(first, last + 1):
        y = i + 0.5
        left, right = 0.0, float(width)
        inside = True
        for k in range(3):
            if k == 0:
                a, b = a0, b0 * y + c0
            elif k == 1:
                a, b = a1, b1 * y + c1
            else:
                a, b = a2, b2 * y + c2
            if a > 0:
                left = max(left, -b / a)
            elif a < 0:
                right = min(right, -b / a)
            elif b < 0:
                inside = False
        if not inside or left > right:
            continue
        start = int(np.ceil(left - 0.5))
        stop = min(width - 1, int(np.floor(right - 0.5)))
        base = z0 + zy * (y - y0) + zx * (0.5 - x0)
        for j in range(start, stop + 1):
            value = np.float32(base + zx * j)
            if token >= 0 and stamp[i, j] != token:
                stamp[i, j] = token
                fresh += 1
            if value > inv_depth[i, j]:
                inv_depth[i, j] = value
                triangle[i, j] = index
    return fresh


@njit(cache=True, error_model='numpy')
def draw(buffers, count, geometry, order, owners, token, camera, eye, sun, amodal):
    """Draw objects into the buffers.

    Args:
        buffers (Buffers): Drawn into.
        count (int): Number of screen triangles that are in use already.
        geometry (Geometry): The meshes.
        order: (M',) int64, the objects to draw, best nearest first.
        owners: (M,) int32, what to write as owner of each object's triangles.
        token (int): Larger than any token used on these buffers before; object m uses ``token + m``. Negative: do not
            count amodal pixels.
        camera: (3, 4) float64, rotation and translation of the geometry's frame to the camera, and below it
            [fx, fy, cx, cy]: together (4, 4).
        eye: (3,) float64, the camera's place in the geometry's frame.
        sun: (3,) float64, unit vector towards the sun.
        amodal: (M,) int64, receives the number of pixels that each object covers, seen or hidden.

    Returns:
        int: Number of screen triangles in use now; more than the capacity if there was no room for all.
    """
    inv_depth, triangle, stamp, gradients, looks, owner = buffers
    height, width = inv_depth.shape
    capacity = gradients.shape[0]
    fx, fy, cx, cy = camera[3, 0], camera[3, 1], camera[3, 2], camera[3, 3]
    # Outward normals of the frustum's sides, for spheres.
    sides = np.empty((4, 3))
    for k in range(4):
        normal = np.zeros(3)
        if k == 0:
            normal[0], normal[2] = -fx, -cx
        elif k == 1:
            normal[0], normal[2] = fx, cx - width
        elif k == 2:
            normal[1], normal[2] = -fy, -cy
        else:
            normal[1], normal[2] = fy, cy - height
        sides[k] = normal / np.sqrt(normal[0]**2 + normal[1]**2 + normal[2]**2)
    corner = np.empty((4, 3 + NUM_ATTRIBUTES))
    source = np.empty((3, 3 + NUM_ATTRIBUTES))
    screen = np.empty((4, 3))
    for rank in range(order.shape[0]):
        m = order[rank]
        sphere = geometry.spheres[m]
        center = np.empty(3)
        for r in range(3):
            center[r] = camera[r, 0] * sphere[0] + camera[r, 1] * sphere[1] + camera[r, 2] * sphere[2] + camera[r, 3]
        if center[2] + sphere[3] < NEAR:
            continue
        outside = False
        for k in range(4):
            if sides[k, 0] * center[0] + sides[k, 1] * center[1] + sides[k, 2] * center[2] > sphere[3]:
                outside = True
        if outside:
            continue
        for t in range(geometry.starts[m], geometry.starts[m + 1]):
            # Back faces are not drawn.
            p = geometry.positions[t]
            ux, uy, uz = p[1, 0] - p[0, 0], p[1, 1] - p[0, 1], p[1, 2] - p[0, 2]
            wx, wy, wz = p[2, 0] - p[0, 0], p[2, 1] - p[0, 1], p[2, 2] - p[0, 2]
            facing = ((uy * wz - uz * wy) * (eye[0] - p[0, 0]) + (uz * wx - ux * wz) * (eye[1] - p[0, 1])
                      + (ux * wy - uy * wx) * (eye[2] - p[0, 2]))
            if facing <= 0:
                continue
            in_front = 0
            for k in range(3):
                for r in range(3):
                    source[k, r] = (camera[r, 0] * p[k, 0] + camera[r, 1] * p[k, 1] + camera[r, 2] * p[k, 2]
                                    + camera[r, 3])
                if source[k, 2] >= NEAR:
                    in_front += 1
            if in_front == 0:
                continue
            material = int(geometry.looks[t, 3])
            glossy = material in (PAINT, GLASS)
            for k in range(3):
                for a in range(NUM_ATTRIBUTES):
                    source[k, 3 + a] = geometry.attributes[t, k, a]
                if glossy:  # mirrored sky and the sun's highlight, from the view direction
                    n = geometry.normals[t, k]
                    vx, vy, vz = eye[0] - p[k, 0], eye[1] - p[k, 1], eye[2] - p[k, 2]
                    scale = 1.0 / np.sqrt(vx * vx + vy * vy + vz * vz + 1e-12)
                    vx, vy, vz = vx * scale, vy * scale, vz * scale
                    nv = min(1.0, max(0.0, n[0] * vx + n[1] * vy + n[2] * vz))
                    up = 2 * nv * n[2] - vz  # z of the mirrored ray
                    sky = min(1.0, max(0.0, 0.5 + 2.5 * up))
                    grazing = (1 - nv)**3
                    if material == GLASS:
                        source[k, 5] = sky * (0.16 + 0.6 * grazing)
                    else:
                        source[k, 5] = sky * (0.05 + 0.35 * grazing)
                    along = (2 * nv * n[0] - vx) * sun[0] + (2 * nv * n[1] - vy) * sun[1] + up * sun[2]
                    along = max(0.0, along)
                    along = along * along
                    along = along * along
                    along = along * along
                    source[k, 6] = 0.6 * along * along * along
            # Cut at the near plane.
            num = 0
            for k in range(3):
                following = (k + 1) % 3
                z, z_next = source[k, 2], source[following, 2]
                if z >= NEAR:
                    corner[num] = source[k]
                    num += 1
                if (z >= NEAR) != (z_next >= NEAR):
                    s = (NEAR - z) / (z_next - z)
                    for a in range(3 + NUM_ATTRIBUTES):
                        corner[num, a] = source[k, a] + s * (source[following, a] - source[k, a])
                    corner[num, 2] = NEAR
                    num += 1
            for k in range(num):
                screen[k, 2] = 1.0 / corner[k, 2]
                screen[k, 0] = fx * corner[k, 0] * screen[k, 2] + cx
                screen[k, 1] = fy * corner[k, 1] * screen[k, 2] + cy
            for fan in range(num - 2):
                i0, i1, i2 = 0, fan + 1, fan + 2
                if (max(screen[i0, 0], screen[i1, 0], screen[i2, 0]) < 0
                        or min(screen[i0, 0], screen[i1, 0], screen[i2, 0]) > width
                        or max(screen[i0, 1], screen[i1, 1], screen[i2, 1]) < 0
                        or min(screen[i0, 1], screen[i1, 1], screen[i2, 1]) > height):
                    continue
                dx1, dy1 = screen[i1, 0] - screen[i0, 0], screen[i1, 1] - screen[i0, 1]
                dx2, dy2 = screen[i2, 0] - screen[i0, 0], screen[i2, 1] - screen[i0, 1]
                area = dx1 * dy2 - dx2 * dy1
                if abs(area) < 1e-9:
                    continue
                if count >= capacity:
                    count += 1
                    continue
                gradient = gradients[count]
                gradient[0], gradient[1] = screen[i0, 0], screen[i0, 1]
                for a in range(1 + NUM_ATTRIBUTES):
                    if a == 0:
                        f0, f1, f2 = screen[i0, 2], screen[i1, 2], screen[i2, 2]
                    else:
                        f0 = corner[i0, 2 + a] * screen[i0, 2]
                        f1 = corner[i1, 2 + a] * screen[i1, 2]
                        f2 = corner[i2, 2 + a] * screen[i2, 2]
                    gradient[2 + 3 * a] = f0
                    gradient[3 + 3 * a] = ((f1 - f0) * dy2 - (f2 - f0) * dy1) / area
                    gradient[4 + 3 * a] = ((f2 - f0) * dx1 - (f1 - f0) * dx2) / area
                for a in range(4):
                    looks[count, a] = geometry.looks[t, a]
                owner[count] = owners[m]
                own_token = token + m if token >= 0 else -1
                # Seen from its front a triangle runs counter-clockwise in space, clockwise in the image (v is down).
                if area > 0:
                    fresh = _fill(inv_depth, triangle, stamp, count, own_token, screen[i0], screen[i1], screen[i2],
                                  gradient)
                else:
                    fresh = _fill(inv_depth, triangle, stamp, count, own_token, screen[i0], screen[i2], screen[i1],
                                  gradient)
                amodal[m] += fresh
                count += 1
    return count
