"""What the objects take from the light on the ground, and what lamps add to it: one bird's-eye map a frame."""
from __future__ import annotations

import cv2
import numpy as np
from numba import njit

from .lighting import Lighting
from .rasterizer import Geometry

SIZE = 1024  # texels on a side
TEXEL = 0.125  # metres
MAX_LENGTH = 60.0  # metres, of a shadow


@njit(cache=True, error_model='numpy')
def _cast(mask, geometry, dx, dy, origin_x, origin_y):
    """Project all triangles that face the sun onto the ground along (dx, dy, -1) and fill them in ``mask``."""
    size = mask.shape[0]
    point = np.empty((3, 2))
    reach = size * TEXEL
    for m in range(geometry.spheres.shape[0]):
        s = geometry.spheres[m]
        shift = (s[2] + s[3]) * np.sqrt(dx * dx + dy * dy) + s[3]
        if (s[0] + shift < origin_x or s[1] + shift < origin_y or s[0] - shift > origin_x + reach
                or s[1] - shift > origin_y + reach):
            continue
        for t in range(geometry.starts[m], geometry.starts[m + 1]):
            for k in range(3):
                p = geometry.positions[t, k]
                point[k, 0] = (p[0] + dx * p[2] - origin_x) / TEXEL
                point[k, 1] = (p[1] + dy * p[2] - origin_y) / TEXEL
            area = ((point[1, 0] - point[0, 0]) * (point[2, 1] - point[0, 1])
                    - (point[2, 0] - point[0, 0]) * (point[1, 1] - point[0, 1]))
            if area <= 1e-9:  # turned away from the sun: its front sides cast the same shadow
                continue
            low = max(0, int(np.ceil(min(point[0, 1], point[1, 1], point[2, 1]) - 0.5)))
            high = min(size - 1, int(np.floor(max(point[0, 1], point[1, 1], point[2, 1]) - 0.5)))
            for i in range(low, high + 1):
                y = i + 0.5
                left, right = 0.0, float(size)
                for k in range(3):
                    n = (k + 1) % 3
                    a = point[k, 1] - point[n, 1]
                    b = (point[n, 0] - point[k, 0]) * y + point[k, 0] * point[n, 1] - point[n, 0] * point[k, 1]
                    if a > 0:
                        left = max(left, -b / a)
                    elif a < 0:
                        right = min(right, -b / a)
                start = int(np.ceil(left - 0.5))
                stop = min(size - 1, int(np.floor(right - 0.5)))
                for j in range(start, stop + 1):
                    mask[i, j] = 255


def cast_shadows(groups: list[Geometry], footprints: np.ndarray, lamps: np.ndarray, lighting: Lighting,
                 center: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The light on the ground around the rig.

    Args:
        groups: Everything that casts a shadow.
        footprints: (F, 4, 2) float64, the objects' outlines on the ground: below them it is darker even without sun.
        lamps: (K, 4) float64: x, y of a lit spot, its radius in metres, its strength 0..1.
        lighting: The scene's light.
        center: (2,) x, y of the map's middle.

    Returns:
        tuple: (SIZE, SIZE) uint32, lowest byte first: direct and ambient light that are missing, lamp light; and
        (3,) float64 with x, y of the map's first corner and the texel size.
    """
    origin = np.asarray(center, dtype=np.float64) - 0.5 * SIZE * TEXEL
    result = np.zeros((SIZE, SIZE, 4), np.uint8)
    if lighting.cloudiness < 0.95 and lighting.night < 1:
        slope = lighting.to_sun[:2] / lighting.to_sun[2]
        mask = np.zeros((SIZE, SIZE), np.uint8)
        for geometry in groups:
            _cast(mask, geometry, -slope[0], -slope[1], origin[0], origin[1])
        softness = 0.8 + 5 * lighting.cloudiness
        result[..., 0] = cv2.GaussianBlur(mask, (0, 0), softness)
    contact = np.zeros((SIZE, SIZE), np.uint8)
    if len(footprints):
        outlines = np.round(((footprints - origin) / TEXEL - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(contact, list(outlines), 190, cv2.LINE_AA, 4)
        result[..., 1] = cv2.GaussianBlur(contact, (0, 0), 2.2)
    if lighting.night > 0 and len(lamps):
        result[..., 2] = _lamp_light(lamps, origin)
    return result.view('<u4').astype(np.uint32, copy=False)[..., 0], np.array([origin[0], origin[1], TEXEL])


def _lamp_light(lamps: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Add up soft round spots at an eighth of the resolution; they have no fine detail."""
    step = 8
    axis = (np.arange(SIZE // step) + 0.5) * step * TEXEL
    light = np.zeros((SIZE // step, SIZE // step), np.float32)
    for x, y, radius, strength in lamps:
        dx2 = ((axis + origin[0] - x) / radius)**2
        dy2 = ((axis + origin[1] - y) / radius)**2
        light += (strength * np.exp(-dy2)[:, None] * np.exp(-dx2)[None]).astype(np.float32)
    light = np.clip(255 * light, 0, 255).astype(np.uint8)
    return cv2.resize(light, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
