"""Normals at the corners of triangles, flat or smooth; compiled by numba, since shapes consist of many small parts."""
from __future__ import annotations

import numpy as np
from numba import njit

SMALLEST_AREA = 1e-12  # square metres, twice a triangle's: what is smaller is left out
_GRID = 1e6  # 1/m: corners that agree to the micrometre are one vertex


@njit(cache=True, error_model='numpy')
def corner_normals(positions, crease):
    """Find the triangles that have an area, and the unit normals at their corners.

    Args:
        positions: (T, 3, 3) float64, metres, counter-clockwise from outside.
        crease: Radians. At each corner, the normals of the faces around it are averaged by their areas, as far as they
            differ from its own by less; 0 keeps every face flat.

    Returns:
        tuple: (N,) int64, the triangles to keep; (N, 3, 3) float64, the normals at their corners.
    """
    total = positions.shape[0]
    keep = np.empty(total, np.int64)
    face = np.empty((total, 3))
    area = np.empty(total)
    num = 0
    for t in range(total):
        p = positions[t]
        ux, uy, uz = p[1, 0] - p[0, 0], p[1, 1] - p[0, 1], p[1, 2] - p[0, 2]
        wx, wy, wz = p[2, 0] - p[0, 0], p[2, 1] - p[0, 1], p[2, 2] - p[0, 2]
        x, y, z = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
        length = np.sqrt(x * x + y * y + z * z)
        if length > SMALLEST_AREA:
            keep[num], area[num] = t, length
            face[num, 0], face[num, 1], face[num, 2] = x / length, y / length, z / length
            num += 1
    normals = np.empty((num, 3, 3))
    if crease <= 0:
        for t in range(num):
            for k in range(3):
                normals[t, k] = face[t]
        return keep[:num], normals
    # The corners of each vertex form a chain, from its latest to its first.
    vertices = np.empty((3 * num, 3))
    latest = np.empty(3 * num, np.int64)
    vertex = np.empty(3 * num, np.int64)
    before = np.empty(3 * num, np.int64)
    count = 0
    for c in range(3 * num):
        p = positions[keep[c // 3], c % 3]
        x, y, z = np.rint(p[0] * _GRID), np.rint(p[1] * _GRID), np.rint(p[2] * _GRID)
        found = count - 1
        while found >= 0 and not (vertices[found, 0] == x and vertices[found, 1] == y and vertices[found, 2] == z):
            found -= 1
        if found < 0:
            found = count
            vertices[found, 0], vertices[found, 1], vertices[found, 2] = x, y, z
            latest[found] = -1
            count += 1
        vertex[c], before[c], latest[found] = found, latest[found], c
    limit = np.cos(crease)
    for t in range(num):
        for k in range(3):
            x, y, z = 0.0, 0.0, 0.0
            c = latest[vertex[3 * t + k]]
            while c >= 0:
                other = c // 3
                if face[t, 0] * face[other, 0] + face[t, 1] * face[other, 1] + face[t, 2] * face[other, 2] > limit:
                    x += area[other] * face[other, 0]
                    y += area[other] * face[other, 1]
                    z += area[other] * face[other, 2]
                c = before[c]
            length = max(np.sqrt(x * x + y * y + z * z), 1e-12)
            normals[t, k, 0], normals[t, k, 1], normals[t, k, 2] = x / length, y / length, z / length
    return keep[:num], normals
