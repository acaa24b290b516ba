"""From the z-buffer to colours: one pass over the pixels of a view, compiled by numba.

A pixel shows, in this order, the triangle in front, the ground (the plane z = 0), or the sky. All positions are in the
view's working frame: global axes, metres, shifted so that the rig is near the origin (small numbers, and no
catastrophic cancellation).
"""
from __future__ import annotations

import numpy as np
from numba import njit

from .ground import CURB_SOFTNESS, LEVELS, sample_ground
from .meshes import FACADE, FOLIAGE, GLASS, LAMP, PAINT
from .noise import TILE

SKY_STEP = 4  # the sky is computed for every 4th pixel and interpolated
EDGE_SLOPE = 2.0 / (CURB_SOFTNESS * np.sqrt(2 * np.pi))  # 1/m, of the blurred drivable area across its edge
CURB_WIDTH = 0.16  # metres
FAR = 3000.0  # metres: beyond, the ground is the horizon


@njit(cache=True)
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
    for i in range(height):
        for j in range(width):
            u, v = j * SKY_STEP, i * SKY_STEP
            x = rays[0, 0] * u + rays[0, 1] * v + rays[0, 2]
            y = rays[1, 0] * u + rays[1, 1] * v + rays[1, 2]
            z = rays[2, 0] * u + rays[2, 1] * v + rays[2, 2]
            scale = 1.0 / np.sqrt(x * x + y * y + z * z)
            x, y, z = x * scale, y * scale, z * scale
            up = max(0.0, z)
            t = 1 - (1 - up)**4
            toward = max(0.0, x * sun[0] + y * sun[1] + z * sun[2])
            toward = toward**8
            halo = (0.30 * toward + 0.5 * toward**12) * (1 - cover) * (1 - lighting.night)
            amount = 0.0
            if z > 0.01:  # clouds lie on a plane above, bent down a little towards the horizon
                flat = 0.35 / (z + 0.06)
                a = (x * flat + drift[0]) * TILE * 0.4
                b = (y * flat + drift[1]) * TILE * 0.4
                a0, b0 = int(np.floor(a)), int(np.floor(b))
                da, db = a - a0, b - b0
                n = ((clouds[b0 % TILE, a0 % TILE] * (1 - da) + clouds[b0 % TILE, (a0 + 1) % TILE] * da) * (1 - db)
                     + (clouds[(b0 + 1) % TILE, a0 % TILE] * (1 - da)
                        + clouds[(b0 + 1) % TILE, (a0 + 1) % TILE] * da) * db)
                amount = min(1.0, max(0.0, (n - (0.72 - 0.6 * cover)) * 3.0))
                amount *= min(1.0, z * 6) * (0.55 + 0.35 * cover)
                shade = 1.0 - 0.22 * cover * min(1.0, max(0.0, (n - 0.5) * 2))
            else:
                shade = 1.0
            for c in range(3):
                value = lighting.horizon[c] + t * (lighting.zenith[c] - lighting.horizon[c])
                value += amount * (lighting.cloud[c] * shade - value)
                sky[i, j, c] = value + halo * (0.75, 0.9, 1.0)[c]


@njit(cache=True)
def _hash(a, b, c):
    """A pseudo-random number 0..1 of three integers."""
    n = (a * 73856093) ^ (b * 19349663) ^ (c * 83492791)
    n = (n ^ (n >> 13)) * 1274126177
    return ((n ^ (n >> 16)) & 0xffff) / 65535.0


@njit(cache=True)
def shade(image, ids, visible, buffers, instances, rays, eye, texture, shadow_map, shadow_origin, lighting, palette,
          sky, surface, bank, rows, develop):
    """Colour every pixel.

    Args:
        image: (H, W, 3) uint8, BGR, written.
        ids: (H, W) int32, instance or 0, written.
        visible: (M,) int64, counts the pixels of each owner.
        buffers (Buffers): The drawn triangles.
        instances: (M,) int32, the instance number of each owner.
        rays: (3, 3) float64; ``rays @ [u, v, 1]`` is the ray of depth 1 through (u, v), in the working frame.
        eye: (3,) float64, the camera in the working frame.
        texture (GroundTexture): The painted ground, its origin in the working frame.
        shadow_map: (S, S, 3) uint8: direct light taken away, ambient light taken away, lamp light; of the ground.
        shadow_origin: (3,) float64, x, y of its first texel's corner, texel size in metres.
        lighting (Lighting): The light.
        palette: (4, 3) float64, BGR albedo of asphalt, sidewalk, open ground, kerb.
        sky: (h, w, 3) float32 from `paint_sky`, at least one sample more than the image needs.
        surface: (TILE, TILE) float32, noise of surfaces.
        bank: (SENSOR_BANK,) int8, sensor noise times 32.
        rows: (H,) int64, where each row's noise starts in the bank.
        develop: (5,) float64: gain of B, G, R; vignette at the corner; noise in grey levels.
    """
    inv_depth, triangle, _, gradients, looks, owner = buffers
    height, width, _ = image.shape
    sun, ambient, horizon, lamp = lighting.sun, lighting.ambient, lighting.horizon, lighting.lamp
    sun_up = lighting.to_sun[2]
    wet, night = lighting.wetness, lighting.night
    fade = np.empty(1024)  # what gets through the haze, by metres
    for k in range(1024):
        fade[k] = np.exp(-lighting.haze * k)
    color = np.empty(3)
    cover = np.empty(4)
    grain = develop[4] / 32.0
    corner = 0.25 * (width * width + height * height)
    dark = 1.0 - 0.42 * wet
    size = shadow_map.shape[0]
    for i in range(height):
        v = i + 0.5
        # Sky row.
        s_row = v / SKY_STEP
        s_i = int(s_row)
        s_v = s_row - s_i
        # Ground sampling of this row, from its middle: depth is the same along a row unless the camera is rolled.
        middle_x = rays[0, 0] * 0.5 * width + rays[0, 1] * v + rays[0, 2]
        middle_y = rays[1, 0] * 0.5 * width + rays[1, 1] * v + rays[1, 2]
        middle_z = rays[2, 0] * 0.5 * width + rays[2, 1] * v + rays[2, 2]
        taps, level, across, along = 1, 0, 1.0, 1.0
        if middle_z < 0:
            d = -eye[2] / middle_z
            across = d * np.sqrt(rays[0, 0]**2 + rays[1, 0]**2)
            slope = rays[2, 1] / middle_z
            along = d * np.sqrt((rays[0, 1] - middle_x * slope)**2 + (rays[1, 1] - middle_y * slope)**2)
            taps = int(min(4.0, max(1.0, np.ceil(along / max(across, 0.5 * texture.origin[2])))))
            foot = max(across, along / taps) / texture.origin[2]
            level = int(min(LEVELS - 1.0, max(0.0, np.floor(np.log2(max(foot, 1e-3)) + 0.5))))
        foot = max(across, along / taps)
        crisp = max(1.0, texture.origin[2] * (1 << level) / max(foot, 0.012))
        edge = max(1.0, 1.0 / (EDGE_SLOPE * max(foot, 0.012)))
        noise_at = rows[i]
        for j in range(width):
            u = j + 0.5
            rx = rays[0, 0] * u + rays[0, 1] * v + rays[0, 2]
            ry = rays[1, 0] * u + rays[1, 1] * v + rays[1, 2]
            rz = rays[2, 0] * u + rays[2, 1] * v + rays[2, 2]
            norm = np.sqrt(rx * rx + ry * ry + rz * rz)
            index = triangle[i, j]
            depth = FAR
            is_sky = False
            instance = 0
            if index >= 0:
                g = gradients[index]
                depth = 1.0 / inv_depth[i, j]
                du, dv = u - g[0], v - g[1]
                direct = min(1.2, max(0.0, (g[5] + g[6] * du + g[7] * dv) * depth))
                around = min(2.5, max(0.0, (g[8] + g[9] * du + g[10] * dv) * depth))
                p = (g[11] + g[12] * du + g[13] * dv) * depth
                q = (g[14] + g[15] * du + g[16] * dv) * depth
                material = int(looks[index, 3])
                own = owner[index]
                if own >= 0:
                    visible[own] += 1
                    instance = instances[own]
                factor = 1.0
                glow = 0.0
                mirror = 0.0
                glint = 0.0
                if material == PAINT or material == GLASS:
                    mirror = min(0.9, max(0.0, p))
                    glint = min(0.8, max(0.0, q))
                elif material == LAMP:
                    glow = 0.25 + 0.75 * night
                elif material == FACADE:
                    # Windows in a 3 m by 3.2 m grid; blurred to their mean where they get smaller than pixels.
                    a, b = p / 3.0, q / 3.2
                    ca, cb = int(np.floor(a)), int(np.floor(b))
                    fa, fb = a - ca, b - cb
                    spread = depth * norm * 0.0011
                    soft = min(1.0, max(0.08, spread))
                    wa = min(1.0, max(0.0, (0.32 - abs(fa - 0.5)) / (0.1 * soft) + 0.5))
                    wb = min(1.0, max(0.0, (0.30 - abs(fb - 0.52)) / (0.1 * soft) + 0.5))
                    pane = wa * wb
                    blur = min(1.0, max(0.0, (spread - 0.35) * 1.2))
                    pane += blur * (0.38 - pane)
                    random = _hash(ca, cb, own + int(looks[index, 0] * 9973))
                    lit = night * (1.0 if random < 0.35 else 0.0)
                    lit += blur * (0.35 * night - lit)
                    glow = 0.8 * pane * lit
                    mirror = pane * (1 - lit) * (0.22 + 0.35 * random)
                    factor = 1 - 0.72 * pane
                    if fb < 0.05:
                        factor *= 0.9
                elif material == FOLIAGE:
                    fine = max(0.0, 1 - depth * 0.012)
                    n = surface[int(np.floor(q * 24)) % TILE, int(np.floor(p * 24)) % TILE]
                    n2 = surface[int(np.floor(q * 5)) % TILE, int(np.floor(p * 5)) % TILE]
                    factor = max(0.35, 1 + 0.34 * n * fine + 0.22 * n2)
                for c in range(3):
                    albedo = looks[index, c] * factor
                    value = albedo * (around * ambient[c] + direct * sun[c])
                    value += mirror * (horizon[c] - value) + glint * sun[c]
                    if glow > 0:
                        shine = looks[index, c] if material == LAMP else (0.50, 0.78, 0.95)[c]
                        value += glow * (shine - value)
                    color[c] = value
            elif rz < -1e-6 and eye[2] > 0 and -eye[2] / rz < FAR:
                depth = -eye[2] / rz
                x, y = eye[0] + rx * depth, eye[1] + ry * depth
                slope = rz and rays[2, 1] / rz
                px = depth * (rays[0, 1] - rx * slope)
                py = depth * (rays[1, 1] - ry * slope)
                cover[:] = 0.0
                if taps == 1:
                    sample_ground(texture.texels, texture.levels, texture.origin, x, y, level, cover)
                else:
                    for tap in range(taps):
                        s = (tap + 0.5) / taps - 0.5
                        sample_ground(texture.texels, texture.levels, texture.origin, x + s * px, y + s * py, level,
                                      cover)
                    for k in range(4):
                        cover[k] /= taps
                white = min(1.0, max(0.0, (cover[0] - 0.5) * crisp + 0.5))
                yellow = min(1.0, max(0.0, (cover[1] - 0.5) * crisp + 0.5))
                road = min(1.0, max(0.0, (cover[2] - 0.5) * edge + 0.5))
                curb = min(1.0, max(0.0, (cover[2] - 0.5 + EDGE_SLOPE * CURB_WIDTH) * edge + 0.5)) - road
                walk = min(1.0, max(0.0, (cover[3] - 0.5) * crisp + 0.5)) * (1 - road)
                # Noise at two scales; the fine one fades out where pixels are larger than its grain.
                coarse = surface[int(np.floor(y * 3.1)) % TILE, int(np.floor(x * 3.1)) % TILE]
                fine = 0.0
                if along < 0.12:
                    fine = (1 - along / 0.12) * surface[int(np.floor(y * 53.0)) % TILE, int(np.floor(x * 53.0)) % TILE]
                coarse *= min(1.0, 0.25 / max(along, 0.25))
                # Light on the ground.
                direct, around, pool = 1.0, 1.0, 0.0
                a = (x - shadow_origin[0]) / shadow_origin[2] - 0.5
                b = (y - shadow_origin[1]) / shadow_origin[2] - 0.5
                if a >= 0 and b >= 0 and a < size - 1 and b < size - 1:
                    a0, b0 = int(a), int(b)
                    da, db = a - a0, b - b0
                    w00, w01, w10, w11 = (1 - da) * (1 - db), da * (1 - db), (1 - da) * db, da * db
                    direct -= (w00 * shadow_map[b0, a0, 0] + w01 * shadow_map[b0, a0 + 1, 0]
                               + w10 * shadow_map[b0 + 1, a0, 0] + w11 * shadow_map[b0 + 1, a0 + 1, 0]) / 255.0
                    around -= (w00 * shadow_map[b0, a0, 1] + w01 * shadow_map[b0, a0 + 1, 1]
                               + w10 * shadow_map[b0 + 1, a0, 1] + w11 * shadow_map[b0 + 1, a0 + 1, 1]) / 255.0
                    if night > 0:
                        pool = (w00 * shadow_map[b0, a0, 2] + w01 * shadow_map[b0, a0 + 1, 2]
                                + w10 * shadow_map[b0 + 1, a0, 2] + w11 * shadow_map[b0 + 1, a0 + 1, 2]) / 255.0
                worn = max(0.0, 1.0 + 0.10 * coarse + 0.12 * fine)
                joint = 1.0
                if walk > 0.5 and along < 0.25:
                    if (x - 1.6 * np.floor(x / 1.6)) < 0.03 or (y - 1.6 * np.floor(y / 1.6)) < 0.03:
                        joint = 0.86
                sheen = 0.0
                if wet > 0:
                    grazing = 1 + rz / norm
                    sheen = wet * (0.04 + 0.55 * grazing**6) * (0.4 + 0.6 * road)
                lawn = 1.0 + 0.25 * coarse + 0.3 * fine
                for c in range(3):
                    albedo = palette[2, c] * lawn
                    albedo += walk * (palette[1, c] * joint * (1 + 0.04 * coarse + 0.05 * fine) - albedo)
                    albedo += curb * (palette[3, c] * (1 + 0.05 * fine) - albedo)
                    albedo += road * (palette[0, c] * worn - albedo)
                    albedo += yellow * ((0.16, 0.58, 0.80)[c] * (1 + 0.10 * coarse + 0.08 * fine) - albedo)
                    albedo += white * (0.84 * (1 + 0.10 * coarse + 0.08 * fine) - albedo)
                    value = albedo * dark * (around * ambient[c] + direct * sun_up * sun[c] + pool * lamp[c])
                    color[c] = value + sheen * (0.9 * horizon[c] - value)
            else:
                is_sky = True
                s_col = u / SKY_STEP
                s_j = int(s_col)
                s_u = s_col - s_j
                for c in range(3):
                    upper = sky[s_i, s_j, c] + s_u * (sky[s_i, s_j + 1, c] - sky[s_i, s_j, c])
                    lower = sky[s_i + 1, s_j, c] + s_u * (sky[s_i + 1, s_j + 1, c] - sky[s_i + 1, s_j, c])
                    color[c] = upper + s_v * (lower - upper)
            if not is_sky:
                clear = fade[min(1023, int(depth * norm))]
                for c in range(3):
                    color[c] = horizon[c] + clear * (color[c] - horizon[c])
            du, dv = u - 0.5 * width, v - 0.5 * height
            gain = 255.0 * (1 - develop[3] * (du * du + dv * dv) / corner)
            for c in range(3):
                value = color[c] * gain * develop[c] + grain * bank[noise_at + 3 * j + c] + 0.5
                image[i, j, c] = np.uint8(min(255.0, max(0.0, value)))
            ids[i, j] = instance
