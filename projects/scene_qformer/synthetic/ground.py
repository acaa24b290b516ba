"""The ground: the vector map painted into a bird's-eye texture, and its look-up from the image.

The texture holds coverages, not colours: white paint, yellow paint, drivable area, sidewalk, 8 bits each. Where the
camera is so near that a texel spans many pixels, the interpolated coverage is sharpened around one half, which keeps
edges crisp without a large texture; where a pixel spans many texels, coarser levels are read (a mip map).
"""
from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numba import njit

from .scene import VectorMap

# The compiler may reorder sums and use reciprocals: an eighth faster, and still the same bytes from run to run.
# Infinities keep their meaning; the horizon needs them.
REORDER = {'contract', 'arcp', 'nsz', 'reassoc'}
TEXEL = 0.08  # metres
MAX_TEXELS = 30_000_000  # 120 MB; larger maps get larger texels
MARGIN = 8.0  # metres around the map
LEVELS = 8
CELL_BITS = 3
CELL = 1 << CELL_BITS  # texels on a side of a cell
MIXED = 1  # as good as any word: a cell that is full of it is looked up texel by texel
LINE_WIDTH = 0.17  # metres, lane paint
PAINT_SOFTNESS = 0.06  # metres over which the coverage of paint fades; sharpened again in shading
STOP_WIDTH = 0.45
DASH, GAP = 3.0, 6.0  # metres
STRIPE, STRIPE_GAP = 0.5, 0.6  # zebra crossings
CURB_SOFTNESS = 0.35  # metres over which the drivable area's coverage fades; shading finds the kerb in it
EDGE_GROWTH = 1.25  # texels that cv2's antialiased polygons are wider than they should be
_SHIFT = 4  # fractional bits of cv2's drawing coordinates


class GroundTexture(NamedTuple):
    """The levels of the texture, one behind the other."""

    texels: np.ndarray  # (sum of h * w,) uint32; lowest byte first: white, yellow paint, drivable area, sidewalk
    levels: np.ndarray  # (LEVELS, 3) int64: offset, h, w
    origin: np.ndarray  # (3,) float64: global x, y of the first texel's corner; size of the finest texels in metres
    cells: np.ndarray  # (sum of ch * cw,) uint32: the texel of which a cell of CELL x CELL texels is full; else MIXED
    cell_levels: np.ndarray  # (LEVELS, 3) int64: offset, ch, cw


class _Canvas:
    """One coverage channel that is drawn on in metres."""

    def __init__(self, low: np.ndarray, shape: tuple[int, int], texel: float) -> None:
        self.low, self.texel = low, texel
        self.image = np.zeros(shape, np.uint8)

    def _texels(self, points: np.ndarray) -> np.ndarray:
        # cv2 puts integer coordinates at texel centres.
        return np.round(((points - self.low) / self.texel - 0.5) * (1 << _SHIFT)).astype(np.int32)

    def polygon(self, points: np.ndarray, value: int = 255) -> None:
        if len(points) >= 3:
            cv2.fillPoly(self.image, [self._texels(points)], value, cv2.LINE_AA, _SHIFT)

    def stroke(self, points: np.ndarray, width: float, value: int = 255) -> None:
        """A polyline with a true width, segment by segment, mitred by a little overlap."""
        for start, end in zip(points[:-1], points[1:]):
            along = end - start
            length = float(np.hypot(*along))
            if length < 1e-9:
                continue
            along = along / length
            side = 0.5 * max(width - EDGE_GROWTH * self.texel, 0.1 * self.texel) * np.array([-along[1], along[0]])
            start, end = start - 0.02 * along, end + 0.02 * along
            self.polygon(np.stack([start - side, end - side, end + side, start + side]), value)


def _dashes(line: np.ndarray, dash: float, gap: float) -> list[np.ndarray]:
    """Cut a polyline into dashes."""
    steps = np.hypot(*np.diff(line, axis=0).T)
    at = np.concatenate([[0.], np.cumsum(steps)])
    pieces = []
    for begin in np.arange(0.5 * gap, at[-1] - 0.5 * dash, dash + gap):
        end = min(begin + dash, at[-1])
        inner = line[(at > begin) & (at < end)]
        ends = [[np.interp(s, at, line[:, 0]), np.interp(s, at, line[:, 1])] for s in (begin, end)]
        pieces.append(np.concatenate([[ends[0]], inner, [ends[1]]]))
    return pieces


def zebra_stripes(quad: np.ndarray) -> list[np.ndarray]:
    """The white stripes of a crossing, quads parallel to its first edge."""
    quad = np.asarray(quad, dtype=np.float64)
    depth = 0.5 * (np.hypot(*(quad[3] - quad[0])) + np.hypot(*(quad[2] - quad[1])))
    number = max(1, round((depth + STRIPE_GAP) / (STRIPE + STRIPE_GAP)))
    period = 1.0 / (number - STRIPE_GAP / (STRIPE + STRIPE_GAP))
    stripes = []
    for k in range(number):
        t0 = k * period
        t1 = min(1.0, t0 + period * STRIPE / (STRIPE + STRIPE_GAP))
        stripes.append(np.stack([quad[0] + t0 * (quad[3] - quad[0]), quad[1] + t0 * (quad[2] - quad[1]),
                                 quad[1] + t1 * (quad[2] - quad[1]), quad[0] + t1 * (quad[3] - quad[0])]))
    return stripes


def paint_ground(vector_map: VectorMap) -> GroundTexture:
    """Draw a vector map into a texture.

    Raises:
        ValueError: If the map has no drivable area.
    """
    if not vector_map.drivable_areas:
        raise ValueError('the vector map has no drivable area: expected at least one polygon in global x, y')
    everything = np.concatenate([np.asarray(points, dtype=np.float64).reshape(-1, 2) for points in (
        *vector_map.drivable_areas, *vector_map.sidewalks, *vector_map.crossings)])
    low, high = everything.min(axis=0) - MARGIN, everything.max(axis=0) + MARGIN
    texel = max(TEXEL, float(np.sqrt(np.prod(high - low) / MAX_TEXELS)))
    width, height = (np.ceil((high - low) / texel / 4).astype(int) * 4)
    white, yellow, road, walk = (_Canvas(low, (height, width), texel) for _ in range(4))
    for area in vector_map.drivable_areas:
        road.polygon(area)
    for area in vector_map.sidewalks:
        walk.polygon(area)
    for line in vector_map.dividers:
        for dash in _dashes(np.asarray(line, dtype=np.float64), DASH, GAP):
            white.stroke(dash, LINE_WIDTH)
    for line in vector_map.centre_dividers:
        yellow.stroke(np.asarray(line, dtype=np.float64), LINE_WIDTH)
    for quad in vector_map.crossings:
        yellow.polygon(quad, 0)
        white.polygon(quad, 0)
        for stripe in zebra_stripes(quad):
            white.polygon(stripe)
    for line in vector_map.stop_lines:
        white.stroke(np.asarray(line, dtype=np.float64), STOP_WIDTH)
    sigma = 0.5 * CURB_SOFTNESS / texel
    soft = cv2.GaussianBlur(road.image, (0, 0), sigma)
    walk.image[soft == 255] = 0  # hidden below the road anyhow: whole cells get uniform, which are looked up fast
    # A little blur makes the interpolated coverage pass one half along a smooth line, not along the texels' corners.
    white_soft, yellow_soft = (cv2.GaussianBlur(canvas.image, (0, 0), PAINT_SOFTNESS / texel)
                               for canvas in (white, yellow))
    sizes = [(int(height), int(width))]
    for _ in range(LEVELS - 1):
        h, w = sizes[-1]
        sizes.append((max(2, h // 2), max(2, w // 2)))
    levels, cell_levels = [], []
    offset = cell_offset = 0
    for h, w in sizes:
        ch, cw = max(0, (h - 2) // CELL + 1), max(0, (w - 2) // CELL + 1)
        levels.append((offset, h, w))
        cell_levels.append((cell_offset, ch, cw))
        offset += h * w
        cell_offset += ch * cw
    texels, cells = np.empty(offset, '<u4'), np.empty(cell_offset, np.uint32)
    images = [texels[first:first + h * w].view(np.uint8).reshape(h, w, 4) for first, h, w in levels]
    cv2.merge([white_soft, yellow_soft, soft, walk.image], dst=images[0])
    for finer, coarser in zip(images[:-1], images[1:]):
        cv2.resize(finer, coarser.shape[1::-1], dst=coarser, interpolation=cv2.INTER_AREA)
    texels = texels.astype(np.uint32, copy=False)
    for (offset, h, w), (cell_offset, ch, cw) in zip(levels, cell_levels):
        _find_uniform_cells(texels[offset:offset + h * w].reshape(h, w),
                            cells[cell_offset:cell_offset + ch * cw].reshape(ch, cw))
    return GroundTexture(texels, np.array(levels, np.int64), np.array([low[0], low[1], texel]), cells,
                         np.array(cell_levels, np.int64))


@njit(cache=True, fastmath=REORDER, error_model='numpy')
def _find_uniform_cells(texels, cells):
    """Fill ``cells``: interpolating anywhere in a uniform cell, which reads one texel beyond it, gives its word."""
    height, width = texels.shape
    for i in range(cells.shape[0]):
        for j in range(cells.shape[1]):
            word = texels[i * CELL, j * CELL]
            uniform = True
            for r in range(i * CELL, min(height, i * CELL + CELL + 1)):
                for c in range(j * CELL, min(width, j * CELL + CELL + 1)):
                    if texels[r, c] != word:
                        uniform = False
                if not uniform:
                    break
            cells[i, j] = word if uniform else np.uint32(MIXED)


@njit(cache=True, fastmath=REORDER, error_model='numpy', inline='always')
def sample_ground(texels, offset, height, width, scale, origin_x, origin_y, x, y):
    """Interpolate the coverages at (x, y) on the level at ``offset``, which has ``scale`` texels a metre.

    Most places are inside a uniform area; so neighbours are compared as whole words before anything is computed.

    Returns:
        tuple: Whether the place is uniform, its packed texel if so, and the four coverages 0..255 if not.
    """
    u = (x - origin_x) * scale - 0.5
    v = (y - origin_y) * scale - 0.5
    if not (u >= 0.0 and v >= 0.0 and u < width - 1.0 and v < height - 1.0):
        return True, np.uint32(0), 0.0, 0.0, 0.0, 0.0  # outside of the map: nothing is painted there
    c, r = int(u), int(v)
    first = offset + r * width + c
    second = first + width
    w00, w01 = texels[first], texels[first + 1]
    w10, w11 = texels[second], texels[second + 1]
    if w00 == w01 and w10 == w11 and w00 == w10:
        return True, w00, 0.0, 0.0, 0.0, 0.0
    du, dv = u - c, v - r
    a, b, d, e = (1 - du) * (1 - dv), du * (1 - dv), (1 - du) * dv, du * dv
    return (False, np.uint32(0),
            a * (w00 & 255) + b * (w01 & 255) + d * (w10 & 255) + e * (w11 & 255),
            a * (w00 >> 8 & 255) + b * (w01 >> 8 & 255) + d * (w10 >> 8 & 255) + e * (w11 >> 8 & 255),
            a * (w00 >> 16 & 255) + b * (w01 >> 16 & 255) + d * (w10 >> 16 & 255) + e * (w11 >> 16 & 255),
            a * (w00 >> 24 & 255) + b * (w01 >> 24 & 255) + d * (w10 >> 24 & 255) + e * (w11 >> 24 & 255))
