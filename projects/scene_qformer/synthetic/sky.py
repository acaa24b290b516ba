"""The sky: a gradient, the sun's halo and clouds; compiled by numba."""
from __future__ import annotations

import numpy as np
from numba import njit

from .noise import TILE

SKY_STEP = 8  # the sky is smooth: it is computed for every 8th pixel and interpolated


@njit(cache=True, error_model='numpy')
def paint_sky(sky, rays, lighting, clouds, drift):
    """Fill ``sky`` (h, w, 3) float32, BGR 0..1, sampled every SKY_STEP pixels from the image's upper left corner.

    Args:
        sky: Filled.
        rays: (3, 3) float64; ``rays @ [u, v, 1]`` is the direction of the pixel coordinate (u, v) in global axes.
        lighting (Lighting): The light.
        clouds: (TILE, TILE) float32, rank noise 0..1.
        drift: (2,) float64, shift of the clouds in tiles.
    """
    height, width, _ = sky.shape
    sun = lighting.to_sun
    cover = lighting.cloudiness
    mask = TILE - 1
    for i in range(height):
        for j in range(width):
            u, v = j * SKY_STEP, i * SKY_STEP
            x = rays[0, 0] * u + rays[0, 1] * v + rays[0, 2]
            y = rays[1, 0] * u + rays[1, 1] * v + rays[1, 2]
            z = rays[2, 0] * u + rays[2, 1] * v + rays[2, 2]
            scale = 1.0 / np.sqrt(x * x + y * y + z * z)
            x, y, z = x * scale, y * scale, z * scale
            down = 1 - max(0.0, z)
            t = 1 - down * down * down * down
            toward = max(0.0, x * sun[0] + y * sun[1] + z * sun[2])
            toward = toward**8
            halo = (0.30 * toward + 0.5 * toward**12) * (1 - cover) * (1 - lighting.night)
            amount = 0.0
            shade = 1.0
            if z > 0.01:  # clouds lie on a plane above, bent down a little towards the horizon
                flat = 0.35 / (z + 0.06)
                a = (x * flat + drift[0]) * TILE * 0.4
                b = (y * flat + drift[1]) * TILE * 0.4
                a0, b0 = int(np.floor(a)), int(np.floor(b))
                da, db = a - a0, b - b0
                n = ((clouds[b0 & mask, a0 & mask] * (1 - da) + clouds[b0 & mask, (a0 + 1) & mask] * da) * (1 - db)
                     + (clouds[(b0 + 1) & mask, a0 & mask] * (1 - da)
                        + clouds[(b0 + 1) & mask, (a0 + 1) & mask] * da) * db)
                amount = min(1.0, max(0.0, (n - (0.72 - 0.6 * cover)) * 3.0))
                amount *= min(1.0, z * 6) * (0.55 + 0.35 * cover)
                shade = 1.0 - 0.22 * cover * min(1.0, max(0.0, (n - 0.5) * 2))
            for c in range(3):
                value = lighting.horizon[c] + t * (lighting.zenith[c] - lighting.horizon[c])
                value += amount * (lighting.cloud[c] * shade - value)
                sky[i, j, c] = value + halo * (0.75, 0.9, 1.0)[c]
