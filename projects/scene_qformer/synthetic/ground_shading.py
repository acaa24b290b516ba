"""Colours the ground: a row's pixels pass through a few simple loops, most of which the compiler can vectorise."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from .ground import CELL_BITS, CURB_SOFTNESS, MIXED, REORDER, sample_ground
from .noise import TILE

EDGE_SLOPE = 2.0 / (CURB_SOFTNESS * np.sqrt(2 * np.pi))  # 1/m, of the blurred drivable area across its edge
CURB_WIDTH = 0.16  # metres
ROAD_ONLY = 255 << 16  # a texel of drivable area without paint
WALK_ONLY = 255 << 24
MASK = TILE - 1
_TILE_BITS = TILE.bit_length() - 1
_POSITIVE = float(TILE << 12)  # a multiple of TILE, added so that truncation rounds down


class RowSampling(NamedTuple):
    """How one row of the image looks up the ground's texture."""

    map_x: float  # the texture's corner in the working frame, metres
    map_y: float
    offset: int  # of the level for single taps
    height: int
    width: int
    scale: float  # texels a metre
    whole_offset: int  # of a level so coarse that one look covers the pixel
    whole_height: int
    whole_width: int
    whole_scale: float
    taps: int  # along the line of sight, where a pixel is much longer than wide
    along: float  # metres that a pixel spans along the line of sight
    cell_offset: int  # of the uniform cells of that level
    cell_width: int
    curb_share: float  # weight of the kerb: fades out where pixels are longer than it is wide
    crisp: float  # how much the coverage of paint is sharpened
    edge: float  # the same for the road's edge
    grit: float  # weight of fine noise: fades out where pixels are larger than its grain
    patches: float  # weight of coarse noise


class Scratch(NamedTuple):
    """What the loops over one row's pixels hand on, (W,) each."""

    x: np.ndarray  # float64, where the ray meets the ground, metres in the working frame
    y: np.ndarray
    distance: np.ndarray  # float32, metres to there
    steepness: np.ndarray  # float32, z of the unit ray, negative
    coarse: np.ndarray  # float32, noise of the surface
    gain: np.ndarray  # float32, weight of that noise
    road: np.ndarray  # float32, share of drivable area: what shines when it is wet


@njit(cache=True)
def make_scratch(width):
    """Room for a row of ``width`` pixels."""
    return Scratch(np.empty(width), np.empty(width), np.empty(width, np.float32), np.empty(width, np.float32),
                   np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32))


@njit(cache=True, fastmath=REORDER, error_model='numpy', inline='always')
def _ground_light(shadow_map, origin_x, origin_y, scale, x, y):
    """What is missing of the direct and the ambient light at (x, y), and the lamps' light; each 0..1."""
    size = shadow_map.shape[0]
    a = (x - origin_x) * scale - 0.5
    b = (y - origin_y) * scale - 0.5
    if not (a >= 0 and b >= 0 and a < size - 1 and b < size - 1):
        return 0.0, 0.0, 0.0
    a0, b0 = int(a), int(b)
    s00, s01 = shadow_map[b0, a0], shadow_map[b0, a0 + 1]
    s10, s11 = shadow_map[b0 + 1, a0], shadow_map[b0 + 1, a0 + 1]
    if s00 == s01 and s10 == s11 and s00 == s10:
        if s00 == 0:
            return 0.0, 0.0, 0.0
        return (s00 & 255) * (1 / 255.0), (s00 >> 8 & 255) * (1 / 255.0), (s00 >> 16 & 255) * (1 / 255.0)
    da, db = (a - a0) * (1 / 255.0), b - b0
    w00, w01, w10, w11 = (1 / 255.0 - da) * (1 - db), da * (1 - db), (1 / 255.0 - da) * db, da * db
    return (w00 * (s00 & 255) + w01 * (s01 & 255) + w10 * (s10 & 255) + w11 * (s11 & 255),
            w00 * (s00 >> 8 & 255) + w01 * (s01 >> 8 & 255) + w10 * (s10 >> 8 & 255) + w11 * (s11 >> 8 & 255),
            w00 * (s00 >> 16 & 255) + w01 * (s01 >> 16 & 255) + w10 * (s10 >> 16 & 255) + w11 * (s11 >> 16 & 255))


@njit(cache=True, fastmath=REORDER, error_model='numpy', inline='always')
def unit(value):
    return min(1.0, max(0.0, value))


@njit(cache=True, fastmath=REORDER, error_model='numpy')
def _find_places(scratch, start, number, eye, rays, base):
    """Where ``number`` pixels from ``start`` on see the ground; ``base`` (3,) is their row's ray at column 0."""
    rays_x, rays_y, rays_z = rays[0, 0], rays[1, 0], rays[2, 0]
    base_x, base_y, base_z = base[0], base[1], base[2]
    eye_x, eye_y, eye_z = eye[0], eye[1], eye[2]
    xs, ys, distance, steepness = scratch.x, scratch.y, scratch.distance, scratch.steepness
    for k in range(number):
        u = start + k + 0.5
        rx, ry, rz = rays_x * u + base_x, rays_y * u + base_y, rays_z * u + base_z
        norm = np.sqrt(rx * rx + ry * ry + rz * rz)
        depth = -eye_z / rz
        xs[k] = eye_x + rx * depth
        ys[k] = eye_y + ry * depth
        distance[k] = depth * norm
        steepness[k] = rz / norm


@njit(cache=True, fastmath=REORDER, error_model='numpy')
def _find_noise(coarse, xs, ys, number, surface, patches, grit):
    """Look up the surface's noise: patches of some decimetres and, near the camera, grit."""
    for k in range(number):
        row, column = np.int32(ys[k] * 21.0 + _POSITIVE) & MASK, np.int32(xs[k] * 21.0 + _POSITIVE) & MASK
        coarse[k] = patches * surface[row, column]
    if grit > 0:
        weight = np.float32(0.12 * grit)
        for k in range(number):
            row, column = np.int32(ys[k] * 90.0 + _POSITIVE) & MASK, np.int32(xs[k] * 90.0 + _POSITIVE) & MASK
            coarse[k] += weight * surface[row, column]


@njit(cache=True, fastmath=REORDER, error_model='numpy')
def _finish(colors, scratch, number, fade, horizon, wet):
    """Add noise, the wet ground's mirrored sky, and haze to ``colors`` (3 N,)."""
    gain, coarse, distance = scratch.gain, scratch.coarse, scratch.distance
    horizon0, horizon1, horizon2 = np.float32(horizon[0]), np.float32(horizon[1]), np.float32(horizon[2])
    one = np.float32(1)
    if wet > 0:
        steepness, road = scratch.steepness, scratch.road
        for k in range(number):
            grazing = 1 + steepness[k]
            grazing = grazing * grazing * grazing
            sheen = np.float32(wet * (0.04 + 0.55 * grazing * grazing) * (0.4 + 0.6 * road[k]))
            factor, rest = (one + gain[k] * coarse[k]) * (one - sheen), np.float32(0.9) * sheen
            colors[3 * k] = colors[3 * k] * factor + rest * horizon0
            colors[3 * k + 1] = colors[3 * k + 1] * factor + rest * horizon1
            colors[3 * k + 2] = colors[3 * k + 2] * factor + rest * horizon2
            gain[k] = 0
    for k in range(number):
        factor = one + gain[k] * coarse[k]
        clear = fade[min(1023, np.int32(distance[k]))]
        colors[3 * k] = horizon0 + clear * (colors[3 * k] * factor - horizon0)
        colors[3 * k + 1] = horizon1 + clear * (colors[3 * k + 1] * factor - horizon1)
        colors[3 * k + 2] = horizon2 + clear * (colors[3 * k + 2] * factor - horizon2)


@njit(cache=True, fastmath=REORDER, error_model='numpy')
def shade_ground(line, scratch, start, stop, rays, base, eye, texels, cells, view, spot, shadow_map, surface, fade,
                 palette, horizon, lamp, ambient, sun, wet):
    """Colour the pixels start..stop-1 of a row, which all show the ground, into ``line`` (3 W,).

    ``view`` (RowSampling) tells how the texture is sampled in this row, ``base`` (3,) is its ray at column 0, ``spot``
    holds x, y of the shadow map's corner and its texels a metre; ``ambient`` and ``sun`` are the light on open ground.
    """
    number = stop - start
    xs, ys, gains, roads = scratch.x, scratch.y, scratch.gain, scratch.road
    _find_places(scratch, start, number, eye, rays, base)
    _find_noise(scratch.coarse, xs, ys, number, surface, view.patches, view.grit)
    map_x, map_y, taps, along = view.map_x, view.map_y, view.taps, view.along
    whole_width, whole_height, whole_scale = view.whole_width, view.whole_height, view.whole_scale
    crisp, edge = view.crisp, view.edge
    joints = along < 0.25
    shadow_x, shadow_y, shadow_scale = spot[0], spot[1], spot[2]
    asphalt0, asphalt1, asphalt2 = palette[0, 0], palette[0, 1], palette[0, 2]
    sidewalk0, sidewalk1, sidewalk2 = palette[1, 0], palette[1, 1], palette[1, 2]
    open0, open1, open2 = palette[2, 0], palette[2, 1], palette[2, 2]
    curb0, curb1, curb2 = palette[3, 0], palette[3, 1], palette[3, 2]
    lamp0, lamp1, lamp2 = lamp[0], lamp[1], lamp[2]
    ambient0, ambient1, ambient2 = ambient[0], ambient[1], ambient[2]
    sun0, sun1, sun2 = sun[0], sun[1], sun[2]
    fresh, blue, green, red, gain, shine = True, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(number):
        # Inside of a uniform area, every other pixel takes over what its neighbour found.
        if fresh or (start + k) & 1 == 0:
            x, y = xs[k], ys[k]
            uniform, texel = True, np.uint32(0)
            white, yellow, road, walk = 0.0, 0.0, 0.0, 0.0
            # One look at a level so coarse that a texel covers the pixel: most places lie inside a uniform cell.
            s, t = (x - map_x) * whole_scale - 0.5, (y - map_y) * whole_scale - 0.5
            if s >= 0 and t >= 0 and s < whole_width - 1 and t < whole_height - 1:
                texel = cells[view.cell_offset + (int(t) >> CELL_BITS) * view.cell_width + (int(s) >> CELL_BITS)]
                if texel == MIXED:
                    uniform, texel, white, yellow, road, walk = sample_ground(
                        texels, view.whole_offset, whole_height, whole_width, whole_scale, map_x, map_y, x, y)
            if not uniform and taps > 1:
                u = start + k + 0.5
                rx, ry, rz = rays[0, 0] * u + base[0], rays[1, 0] * u + base[1], rays[2, 0] * u + base[2]
                depth, slope = -eye[2] / rz, rays[2, 1] / rz
                px, py = depth * (rays[0, 1] - rx * slope), depth * (rays[1, 1] - ry * slope)
                total0, total1, total2, total3 = 0.0, 0.0, 0.0, 0.0
                for tap in range(taps):
                    s = (tap + 0.5) / taps - 0.5
                    flat, word, add0, add1, add2, add3 = sample_ground(
                        texels, view.offset, view.height, view.width, view.scale, map_x, map_y, x + s * px,
                        y + s * py)
                    if flat:
                        add0, add1 = float(word & 255), float(word >> 8 & 255)
                        add2, add3 = float(word >> 16 & 255), float(word >> 24)
                    total0 += add0
                    total1 += add1
                    total2 += add2
                    total3 += add3
                white, yellow, road, walk = total0 / taps, total1 / taps, total2 / taps, total3 / taps
            fresh = not uniform
            if uniform and texel == ROAD_ONLY:
                shine, gain = 1.0, 1.0
                blue, green, red = asphalt0, asphalt1, asphalt2
            elif uniform and texel == WALK_ONLY and not joints:
                shine, gain = 0.0, 0.4
                blue, green, red = sidewalk0, sidewalk1, sidewalk2
            elif uniform and texel == 0:
                shine, gain = 0.0, 2.5
                blue, green, red = open0, open1, open2
            else:  # layer over layer, each with its weight of the noise
                if uniform:
                    white, yellow = float(texel & 255), float(texel >> 8 & 255)
                    road, walk = float(texel >> 16 & 255), float(texel >> 24)
                white, yellow = white * (1 / 255.0) - 0.5, yellow * (1 / 255.0) - 0.5
                road, walk = road * (1 / 255.0) - 0.5, walk * (1 / 255.0) - 0.5
                gain = 2.5
                blue, green, red = open0, open1, open2
                if walk * crisp > -0.5:
                    fresh = fresh or joints
                    walk = min(1.0, walk * crisp + 0.5)
                    slab = 1.0
                    if joints and (x - 1.6 * np.floor(x * 0.625) < 0.03 or y - 1.6 * np.floor(y * 0.625) < 0.03):
                        slab = 0.86
                    gain += walk * (0.4 - gain)
                    blue += walk * (sidewalk0 * slab - blue)
                    green += walk * (sidewalk1 * slab - green)
                    red += walk * (sidewalk2 * slab - red)
                outer = (road + EDGE_SLOPE * CURB_WIDTH) * edge + 0.5
                shine = unit(road * edge + 0.5)
                if shine < 1 and outer > shine:
                    curb = (min(1.0, outer) - shine) * view.curb_share
                    gain += curb * (0.4 - gain)
                    blue += curb * (curb0 - blue)
                    green += curb * (curb1 - green)
                    red += curb * (curb2 - red)
                if shine > 0:
                    gain += shine * (1.0 - gain)
                    blue += shine * (asphalt0 - blue)
                    green += shine * (asphalt1 - green)
                    red += shine * (asphalt2 - red)
                if yellow * crisp > -0.5:
                    yellow = min(1.0, yellow * crisp + 0.5)
                    gain += yellow * (0.8 - gain)
                    blue += yellow * (0.16 - blue)
                    green += yellow * (0.58 - green)
                    red += yellow * (0.80 - red)
                if white * crisp > -0.5:
                    white = min(1.0, white * crisp + 0.5)
                    gain += white * (0.8 - gain)
                    blue += white * (0.84 - blue)
                    green += white * (0.84 - green)
                    red += white * (0.84 - red)
            shadow, occluded, pool = _ground_light(shadow_map, shadow_x, shadow_y, shadow_scale, x, y)
            direct, around = 1 - shadow, 1 - occluded
            blue *= around * ambient0 + direct * sun0 + pool * lamp0
            green *= around * ambient1 + direct * sun1 + pool * lamp1
            red *= around * ambient2 + direct * sun2 + pool * lamp2
        else:
            fresh = True
        j = start + k
        line[3 * j], line[3 * j + 1], line[3 * j + 2] = blue, green, red
        gains[k], roads[k] = gain, shine
    _finish(line[3 * start:3 * stop], scratch, number, fade, horizon, wet)
