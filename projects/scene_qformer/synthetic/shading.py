"""From the z-buffer to colours: one pass over the pixels of a view, compiled by numba.

A pixel shows, in this order, the triangle in front, the ground (the plane z = 0), or the sky. All positions are in the
view's working frame: global axes, metres, shifted so that the rig is near the origin (small numbers, no
cancellation). Colours are BGR, 1 is the image's white.
"""
from __future__ import annotations

import numpy as np
from numba import njit

from .ground import LEVELS, PAINT_SOFTNESS, REORDER
from .ground_shading import CURB_WIDTH, EDGE_SLOPE, MASK, RowSampling, make_scratch, shade_ground, unit
from .meshes import FACADE, FOLIAGE, GLASS, LAMP, MATTE, PAINT
from .sky import SKY_STEP

FAR = 3000.0  # metres: beyond, the ground is the horizon


@njit(cache=True, fastmath=REORDER, error_model='numpy', inline='always')
def _hash(a, b, c):
    """A pseudo-random number 0..1 of three integers."""
    n = (a * 73856093) ^ (b * 19349663) ^ (c * 83492791)
    n = (n ^ (n >> 13)) * 1274126177
    return ((n ^ (n >> 16)) & 0xffff) / 65535.0


@njit(cache=True, fastmath=REORDER, error_model='numpy', inline='always')
def _facade(blue, green, red, p, q, spread, tint, night, horizon0, horizon1, horizon2):
    """Windows in a 3 m by 3.2 m grid over a wall; blurred to their mean where they get smaller than pixels."""
    a, b = p * (1 / 3.0), q * (1 / 3.2)
    fa, fb = np.floor(a), np.floor(b)
    soft = 1 / (0.1 * min(1.0, max(0.08, spread)))
    pane = unit((0.32 - abs(a - fa - 0.5)) * soft + 0.5) * unit((0.30 - abs(b - fb - 0.52)) * soft + 0.5)
    blur = unit((spread - 0.35) * 1.2)
    pane += blur * (0.38 - pane)
    random = _hash(int(fa), int(fb), tint)
    lit = night if random < 0.35 else 0.0
    lit += blur * (0.35 * night - lit)
    dim = 1 - 0.72 * pane
    mirror = pane * (1 - lit) * (0.22 + 0.35 * random)
    glow = 0.8 * pane * lit
    blue, green, red = blue * dim, green * dim, red * dim
    return (blue + mirror * (horizon0 - blue) + glow * (0.50 - blue),
            green + mirror * (horizon1 - green) + glow * (0.78 - green),
            red + mirror * (horizon2 - red) + glow * (0.95 - red))


@njit(cache=True, fastmath=REORDER, error_model='numpy')
def _surface_run(line, start, stop, v, gradients, looks, s, inv_depth, rays_u, ray_v, surface, fade, sun, ambient,
                 horizon, night):
    """Colour the pixels start..stop-1 of a row, which all show the screen triangle ``s``, into ``line`` (3 W,)."""
    x0, y0 = gradients[s, 0], gradients[s, 1]
    dv = v - y0
    direct0, direct_u = gradients[s, 5] + gradients[s, 7] * dv, gradients[s, 6]
    around0, around_u = gradients[s, 8] + gradients[s, 10] * dv, gradients[s, 9]
    p0, p_u = gradients[s, 11] + gradients[s, 13] * dv, gradients[s, 12]
    q0, q_u = gradients[s, 14] + gradients[s, 16] * dv, gradients[s, 15]
    material = int(looks[s, 3])
    look0, look1, look2 = float(looks[s, 0]), float(looks[s, 1]), float(looks[s, 2])
    sun0, sun1, sun2 = sun[0], sun[1], sun[2]
    ambient0, ambient1, ambient2 = ambient[0], ambient[1], ambient[2]
    horizon0, horizon1, horizon2 = horizon[0], horizon[1], horizon[2]
    rays_x, rays_y, rays_z = rays_u[0], rays_u[1], rays_u[2]
    base_x, base_y, base_z = ray_v[0], ray_v[1], ray_v[2]
    tint = int(look0 * 9973)
    lamp = 0.25 + 0.75 * night
    for j in range(start, stop):
        u = j + 0.5
        du = u - x0
        depth = 1.0 / inv_depth[j]
        rx, ry, rz = rays_x * u + base_x, rays_y * u + base_y, rays_z * u + base_z
        distance = depth * np.sqrt(rx * rx + ry * ry + rz * rz)
        direct = min(1.2, max(0.0, (direct0 + direct_u * du) * depth))
        around = min(2.5, max(0.0, (around0 + around_u * du) * depth))
        blue = look0 * (around * ambient0 + direct * sun0)
        green = look1 * (around * ambient1 + direct * sun1)
        red = look2 * (around * ambient2 + direct * sun2)
        if material != MATTE:
            p, q = (p0 + p_u * du) * depth, (q0 + q_u * du) * depth
            if material in (PAINT, GLASS):
                mirror, glint = min(0.9, max(0.0, p)), min(0.8, max(0.0, q))
                blue += mirror * (horizon0 - blue) + glint * sun0
                green += mirror * (horizon1 - green) + glint * sun1
                red += mirror * (horizon2 - red) + glint * sun2
            elif material == LAMP:
                blue += lamp * (look0 - blue)
                green += lamp * (look1 - green)
                red += lamp * (look2 - red)
            elif material == FACADE:
                blue, green, red = _facade(blue, green, red, p, q, distance * 0.0011, tint, night, horizon0, horizon1,
                                           horizon2)
            elif material == FOLIAGE:
                fine = 0.34 * max(0.0, 1 - depth * 0.012)
                factor = max(0.35, 1 + fine * surface[int(np.floor(q * 24)) & MASK, int(np.floor(p * 24)) & MASK]
                             + 0.22 * surface[int(np.floor(q * 5)) & MASK, int(np.floor(p * 5)) & MASK])
                blue, green, red = blue * factor, green * factor, red * factor
        clear = fade[min(1023, int(distance))]
        line[3 * j] = horizon0 + clear * (blue - horizon0)
        line[3 * j + 1] = horizon1 + clear * (green - horizon1)
        line[3 * j + 2] = horizon2 + clear * (red - horizon2)


@njit(cache=True, fastmath=REORDER, error_model='numpy')
def _sky_run(line, start, stop, sky_row):
    """Interpolate the sky along the pixels start..stop-1 of a row."""
    for j in range(start, stop):
        at = (j + 0.5) * (1.0 / SKY_STEP)
        k = int(at)
        part = at - k
        for c in range(3):
            line[3 * j + c] = sky_row[k, c] + part * (sky_row[k + 1, c] - sky_row[k, c])


@njit(cache=True, fastmath=REORDER, error_model='numpy')
def shade(image, visible, buffers, rays, eye, texture, shadow_map, shadow_origin, lighting, palette,
          sky, surface, bank, rows, develop):
    """Colour every pixel.

    Args:
        image: (H, W, 3) uint8, BGR, written.
        visible: (M,) int64, counts the pixels of each owner.
        buffers (Buffers): The drawn triangles.
        rays: (3, 3) float64; ``rays @ [u, v, 1]`` is the ray of depth 1 through (u, v), in the working frame.
        eye: (3,) float64, the camera in the working frame.
        texture (GroundTexture): The painted ground, its origin in the working frame.
        shadow_map: (S, S) uint32 from `shadows.cast_shadows`.
        shadow_origin: (3,) float64, x, y of its first texel's corner, texel size in metres.
        lighting (Lighting): The light.
        palette: (4, 3) float64, BGR albedo of asphalt, sidewalk, open ground, kerb.
        sky: (h, w, 3) float32 from `paint_sky`, at least one sample more than the image needs.
        surface: (TILE, TILE) float32, noise of surfaces.
        bank: (SENSOR_BANK,) int8, sensor noise times 32.
        rows: (H,) int64, where each row's noise starts in the bank.
        develop: (5,) float64: gain of B, G, R; vignette at the corner; noise in grey levels.
    """
    inv_depth, triangle, gradients, looks, owner = (buffers.inv_depth, buffers.triangle, buffers.gradients,
                                                    buffers.looks, buffers.owner)
    height, width, _ = image.shape
    sun, ambient, horizon, lamp = lighting.sun, lighting.ambient, lighting.horizon, lighting.lamp
    wet = lighting.wetness
    ray_u, ray_v = rays[:, 0].copy(), np.empty(3)
    map_x, map_y = texture.origin[0], texture.origin[1]
    spot = np.array([shadow_origin[0], shadow_origin[1], 1.0 / shadow_origin[2]])
    texels, levels, texture_origin = texture.texels, texture.levels, texture.origin
    horizon_z = -eye[2] / FAR if eye[2] > 0 else -np.inf  # rays with a lower z meet the ground
    dark = 1.0 - 0.42 * wet
    fade = np.empty(1024)  # what gets through the haze, by metres
    for k in range(1024):
        fade[k] = np.exp(-lighting.haze * k)
    open_sun, open_ambient = np.empty(3), np.empty(3)
    for c in range(3):
        open_sun[c] = lighting.to_sun[2] * sun[c] * dark
        open_ambient[c] = ambient[c] * dark
    # Development: gain, vignette, noise; whole rows at a time, as 3 W numbers.
    line = np.empty(3 * width, np.float32)
    scratch = make_scratch(width)
    sky_row = np.empty((sky.shape[1], 3))
    channel = np.empty(3 * width, np.float32)
    falloff = np.empty(3 * width, np.float32)
    corner = 0.25 * (width * width + height * height)
    for k in range(3 * width):
        channel[k] = 255.0 * develop[k % 3]
        falloff[k] = 1 - develop[3] * (k // 3 + 0.5 - 0.5 * width)**2 / corner
    grain = np.float32(develop[4] / 32.0)
    half, full = np.float32(0.5), np.float32(255.0)
    for i in range(height):
        v = i + 0.5
        base_x = rays[0, 1] * v + rays[0, 2]
        base_y = rays[1, 1] * v + rays[1, 2]
        base_z = rays[2, 1] * v + rays[2, 2]
        # The sky between its samples above and below.
        sky_at = int(v / SKY_STEP)
        part = v / SKY_STEP - sky_at
        for k in range(sky.shape[1]):
            for c in range(3):
                sky_row[k, c] = sky[sky_at, k, c] + part * (sky[sky_at + 1, k, c] - sky[sky_at, k, c])
        # How the ground is sampled in this row, from its middle: the texture's level, and taps along the line of sight.
        taps, level, whole, across, along = 1, 0, 0, 1.0, 1.0
        middle = 0.5 * width
        middle_z = rays[2, 0] * middle + base_z
        if middle_z < 0:
            d = -eye[2] / middle_z
            across = d * np.sqrt(rays[0, 0]**2 + rays[1, 0]**2)
            slope = rays[2, 1] / middle_z
            along = d * np.sqrt((rays[0, 1] - (rays[0, 0] * middle + base_x) * slope)**2
                                + (rays[1, 1] - (rays[1, 0] * middle + base_y) * slope)**2)
            taps = int(min(4.0, max(1.0, np.ceil(along / max(across, 0.5 * texture_origin[2])))))
            foot = max(across, along / taps) / texture_origin[2]
            level = int(min(LEVELS - 1.0, max(0.0, np.floor(np.log2(max(foot, 1e-3)) + 0.5))))
        whole = level
        if taps > 1:
            whole = int(min(LEVELS - 1.0, max(float(level), np.ceil(np.log2(along / texture_origin[2])))))
        offset, level_height, level_width = levels[level, 0], levels[level, 1], levels[level, 2]
        whole_offset, whole_height, whole_width = levels[whole, 0], levels[whole, 1], levels[whole, 2]
        scale = 1.0 / (texture_origin[2] * (1 << level))
        whole_scale = 1.0 / (texture_origin[2] * (1 << whole))
        foot = max(0.012, max(across, along / taps))
        crisp = max(1.0, max(PAINT_SOFTNESS * 2.5, texture_origin[2] * (1 << level)) / foot)
        edge = max(1.0, 1.0 / (EDGE_SLOPE * foot))
        view = RowSampling(map_x, map_y, offset, level_height, level_width, scale, whole_offset, whole_height,
                           whole_width, whole_scale, taps, along, texture.cell_levels[whole, 0],
                           texture.cell_levels[whole, 2],
                           min(1.0, 2 * CURB_WIDTH / foot), crisp, edge, max(0.0, 1 - along / 0.10),
                           0.11 * min(1.0, 0.12 / max(along, 0.12)))
        depths = inv_depth[i]
        ray_v[0], ray_v[1], ray_v[2] = base_x, base_y, base_z
        j = 0
        while j < width:
            index = triangle[i, j]
            if index >= 0:  # a run of pixels that show the same triangle
                start = j
                while j < width and triangle[i, j] == index:
                    j += 1
                own = owner[index]
                if own >= 0:
                    visible[own] += j - start
                _surface_run(line, start, j, v, gradients, looks, index, depths, ray_u, ray_v, surface, fade,
                             sun, ambient, horizon, lighting.night)
                continue
            start = j
            while j < width and triangle[i, j] < 0:
                j += 1
            # Above and below the horizon; at most two runs, since a row crosses the horizon once.
            below_first = rays[2, 0] * (start + 0.5) + base_z < horizon_z
            below_last = rays[2, 0] * (j - 0.5) + base_z < horizon_z
            turn = j
            if below_first != below_last:
                turn = start
                while (rays[2, 0] * (turn + 0.5) + base_z < horizon_z) == below_first:
                    turn += 1
            for piece in range(2):
                first, last = (start, turn) if piece == 0 else (turn, j)
                if first == last:
                    continue
                if below_first if piece == 0 else below_last:
                    shade_ground(line, scratch, first, last, rays, ray_v, eye, texels, texture.cells, view, spot,
                                 shadow_map, surface, fade, palette, horizon, lamp, open_ambient, open_sun,
                                 lighting.wetness)
                else:
                    _sky_run(line, first, last, sky_row)
        lower = np.float32(develop[3] * (v - 0.5 * height)**2 / corner)
        out = image[i].reshape(3 * width)
        noise = bank[rows[i]:rows[i] + 3 * width]
        for k in range(3 * width):
            value = line[k] * channel[k] * (falloff[k] - lower) + grain * np.float32(noise[k]) + half
            out[k] = np.uint8(np.int32(min(full, max(np.float32(0), value))))
