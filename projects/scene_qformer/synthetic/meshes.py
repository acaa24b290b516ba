"""Triangle meshes of the synthetic world and the primitive parts that shapes are put together from.

A mesh lives in its object's frame: x forward (the box's length axis), y left, z up, metres, origin at the centre of the
box. Triangles are stored corner by corner (no index buffer), counter-clockwise when seen from outside; the renderer
draws front faces only, so parts are closed or, like panels, lie on top of a closed part.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from .normals import corner_normals

MATTE = 0  # diffuse
PAINT = 1  # diffuse with a highlight and some mirrored sky
GLASS = 2  # dark with mirrored sky
LAMP = 3  # shines by itself at night
FACADE = 4  # rows of windows over the surface; uv are metres along the wall and above its foot
FOLIAGE = 5  # mottled leaves

Color = tuple[float, float, float]  # RGB albedo, 0..1


@dataclass(frozen=True)
class Mesh:
    """T triangles. Attributes are per corner, or per triangle where said."""

    positions: np.ndarray  # (T, 3, 3) float64, metres
    normals: np.ndarray  # (T, 3, 3) float64, unit length
    uv: np.ndarray  # (T, 3, 2) float64, metres on the surface
    colors: np.ndarray  # (T, 3) float64, BGR albedo of the triangle
    materials: np.ndarray  # (T,) int64, material of the triangle

    def __len__(self) -> int:
        return len(self.positions)

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest x, y, z."""
        return self.positions.min(axis=(0, 1)), self.positions.max(axis=(0, 1))

    def transformed(self, rotation: np.ndarray | None = None, translation: Sequence[float] = (0., 0., 0.)) -> Mesh:
        """Rotate by a (3, 3) rotation about the origin, then shift."""
        rotation = np.eye(3) if rotation is None else rotation
        return Mesh(self.positions @ rotation.T + np.asarray(translation, dtype=np.float64),
                    self.normals @ rotation.T, self.uv, self.colors, self.materials)


def merge(parts: Iterable[Mesh]) -> Mesh:
    """One mesh of all parts."""
    parts = list(parts)
    return Mesh(*(np.concatenate([getattr(part, name) for part in parts])
                  for name in ('positions', 'normals', 'uv', 'colors', 'materials')))


def fit_to_box(mesh: Mesh, length: float, width: float, height: float) -> Mesh:
    """Stretch a mesh along its axes so that it touches all six sides of the centred box and leaves none."""
    low, high = mesh.bounds
    half = 0.5 * np.array([length, width, height])
    scale = 2 * half / np.maximum(high - low, 1e-9)
    positions = np.clip((mesh.positions - 0.5 * (low + high)) * scale, -half, half)
    normals = mesh.normals / scale
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return Mesh(positions, normals, mesh.uv, mesh.colors, mesh.materials)


def triangles(positions: np.ndarray, color: Color | np.ndarray, material: int | np.ndarray = MATTE,
              crease: float = 0.0, uv: np.ndarray | None = None) -> Mesh:
    """A mesh of loose triangles.

    Args:
        positions: (T, 3, 3), metres, counter-clockwise from outside.
        color: RGB albedo of all, or (T, 3) of each.
        material: Of all, or (T,) of each.
        crease: Faces that meet at less than this angle (radians) are shaded as one smooth surface.
        uv: (T, 3, 2), metres on the surface; zeros by default.
    """
    positions = np.ascontiguousarray(positions, dtype=np.float64)
    keep, normals = corner_normals(positions, float(crease))
    num = len(keep)
    whole = num == len(positions)
    colors, materials = np.empty((num, 3)), np.empty(num, np.int64)
    rgb = np.asarray(color, dtype=np.float64)
    colors[:] = (rgb if rgb.ndim == 1 else rgb[keep])[..., ::-1]
    materials[:] = material if np.ndim(material) == 0 else np.asarray(material)[keep]
    uv = np.zeros((num, 3, 2)) if uv is None else np.asarray(uv, dtype=np.float64)[keep]
    return Mesh(positions if whole else positions[keep], normals, uv, colors, materials)


def quads(corners: np.ndarray, color: Color | np.ndarray, material: int | np.ndarray = MATTE, crease: float = 0.0,
          uv: np.ndarray | None = None) -> Mesh:
    """A mesh of (F, 4, 3) quads, corners counter-clockwise from outside; colours and materials as in `triangles`."""
    corners = np.asarray(corners, dtype=np.float64)
    num = len(corners)
    if np.ndim(color) == 2:
        color = np.repeat(np.asarray(color), 2, axis=0)
    if np.ndim(material) == 1:
        material = np.repeat(np.asarray(material), 2)
    return triangles(corners[:, _SPLIT].reshape(2 * num, 3, 3), color, material, crease,
                     None if uv is None else np.asarray(uv)[:, _SPLIT].reshape(2 * num, 3, 2))


_SPLIT = np.array([[0, 1, 2], [0, 2, 3]])  # of a quad into triangles
_UNIT_BOX = np.array([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(8)], dtype=np.float64) - 0.5
_BOX_FACES = np.array([[1, 3, 7, 5], [2, 0, 4, 6], [3, 2, 6, 7], [0, 1, 5, 4], [4, 5, 7, 6], [2, 3, 1, 0]])


def hexahedron(corners: np.ndarray, color: Color, material: int = MATTE) -> Mesh:
    """A block given by its (8, 3) corners in the order of the binary number ``z y x`` (0: low, 1: high)."""
    return quads(np.asarray(corners)[_BOX_FACES], color, material)


def box(center: Sequence[float], size: Sequence[float], color: Color, material: int = MATTE,
        top: Sequence[float] = (1., 1.), shift: Sequence[float] = (0., 0.)) -> Mesh:
    """A block of ``size`` (x, y, z), optionally tapered: its top scaled by ``top``, shifted by ``shift`` in x, y."""
    corners = _UNIT_BOX * np.asarray(size)
    corners[4:, :2] = corners[4:, :2] * np.asarray(top) + np.asarray(shift)
    return hexahedron(corners + np.asarray(center), color, material)


def cylinder(start: Sequence[float], end: Sequence[float], radius: float, color: Color, material: int = MATTE,
             end_radius: float | None = None, segments: int = 10, cap: Color | None = None) -> Mesh:
    """A cylinder or, with ``end_radius``, a frustum between two points; ``cap`` colours its ends otherwise."""
    first, last = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    end_radius = radius if end_radius is None else end_radius
    axis = (last - first) / _length(last - first)
    side = np.array([axis[1], -axis[0], 0.0] if abs(axis[2]) < 0.9 else [0.0, axis[2], -axis[1]])
    side /= _length(side)
    up = _cross(axis, side)
    circle = _circle(segments)
    ring = circle[:, :1] * side + circle[:, 1:] * up
    wall, ends = np.empty((segments, 4, 3)), np.empty((2, segments, 3, 3))
    low, high = wall[:, 0], wall[:, 3]
    np.add(first, radius * ring, out=low)
    np.add(last, end_radius * ring, out=high)
    wall[:-1, 1], wall[-1, 1], wall[:-1, 2], wall[-1, 2] = low[1:], low[0], high[1:], high[0]
    ends[0, :, 0], ends[0, :, 1], ends[0, :, 2] = last, high, wall[:, 2]
    ends[1, :, 0], ends[1, :, 1], ends[1, :, 2] = first, wall[:, 1], low
    return merge([quads(wall, color, material, crease=1.2),
                  triangles(ends.reshape(2 * segments, 3, 3), color if cap is None else cap, material)])


def ellipsoid(center: Sequence[float], radii: Sequence[float], color: Color, material: int = MATTE,
              segments: int = 10, rings: int = 6, wobble: np.ndarray | None = None) -> Mesh:
    """An ellipsoid; ``wobble`` (rings + 1, segments) scales the radius of each vertex, for lumpy crowns."""
    sphere, angles = _sphere(segments, rings)
    if wobble is not None:
        wobble = wobble[:, np.arange(segments + 1) % segments]
        wobble[0], wobble[-1] = wobble[0, 0], wobble[-1, 0]
        sphere = sphere * wobble[..., None]
    vertices = sphere * np.asarray(radii) + np.asarray(center)
    return quads(_patches(vertices), color, material, crease=1.5, uv=_patches(angles * (sum(radii) / 3)))


@cache
def _circle(segments: int) -> np.ndarray:
    """(segments, 2): cos and sin."""
    angle = 2 * np.pi * np.arange(segments) / segments
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


@cache
def _sphere(segments: int, rings: int) -> tuple[np.ndarray, np.ndarray]:
    """The unit sphere's vertices (rings + 1, segments + 1, 3), the first meridian twice; longitudes and latitudes."""
    lat = np.linspace(-np.pi / 2, np.pi / 2, rings + 1)[:, None]
    lon = 2 * np.pi * np.arange(segments + 1)[None] / segments
    around = 2 * np.pi * (np.arange(segments + 1) % segments)[None] / segments
    sphere = np.stack([np.cos(lat) * np.cos(around), np.cos(lat) * np.sin(around), np.sin(lat) + 0 * around], axis=-1)
    sphere[0], sphere[-1] = [0, 0, -1], [0, 0, 1]
    return sphere, np.stack(np.broadcast_arrays(lon, lat), axis=-1)


def _patches(grid: np.ndarray) -> np.ndarray:
    """(R * S, 4, K): the quads of a grid (R + 1, S + 1, K) whose columns run right and whose rows run up."""
    rows, columns, channels = grid.shape
    patches = np.empty((rows - 1, columns - 1, 4, channels))
    patches[:, :, 0], patches[:, :, 1] = grid[:-1, :-1], grid[:-1, 1:]
    patches[:, :, 2], patches[:, :, 3] = grid[1:, 1:], grid[1:, :-1]
    return patches.reshape(-1, 4, channels)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The cross product of two (3,) vectors; numpy's own takes ten times as long for so few."""
    return np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def _length(a: np.ndarray) -> float:
    return math.sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2])


def loft(sections: np.ndarray, color: Color, material: int = MATTE, crease: float = 0.6) -> Mesh:
    """A closed hull through (S, K, 3) cross sections, first to last towards +x.

    The K points of a section run counter-clockwise when seen from the front (from +x). Ends are closed by fans.
    """
    sections = np.asarray(sections, dtype=np.float64)
    after = np.roll(sections, -1, axis=1)
    wall = np.stack([sections[:-1], after[:-1], after[1:], sections[1:]], axis=2).reshape(-1, 4, 3)
    first, last = sections[0], sections[-1]
    front = np.stack([np.broadcast_to(last.mean(axis=0), last.shape), last, np.roll(last, -1, axis=0)], axis=1)
    back = np.stack([np.broadcast_to(first.mean(axis=0), first.shape), np.roll(first, -1, axis=0), first], axis=1)
    split = wall[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3, 3)
    return triangles(np.concatenate([split, front, back]), color, material, crease)


def panel(corners: np.ndarray, color: Color, material: int = MATTE, inset: Sequence[float] = (0., 1., 0., 1.),
          lift: float = 0.012) -> Mesh:
    """A thin patch on top of a quad, such as a window or a lamp.

    Args:
        corners: (4, 3), counter-clockwise from outside: the quad that carries it; u runs 0 -> 1, v runs 0 -> 3.
        color: RGB albedo.
        material: Its material.
        inset: The patch's part (u0, u1, v0, v1) of the quad.
        lift: Height above the quad in metres.
    """
    corners = np.asarray(corners, dtype=np.float64)
    u0, u1, v0, v1 = inset
    u, v = np.array([u0, u1, u1, u0])[:, None], np.array([v0, v0, v1, v1])[:, None]
    patch = (1 - u) * (1 - v) * corners[0] + u * (1 - v) * corners[1] + u * v * corners[2] + (1 - u) * v * corners[3]
    normal = _cross(patch[2] - patch[0], patch[3] - patch[1])
    return quads((patch + lift / max(_length(normal), 1e-12) * normal)[None], color, material)


def mirrored(mesh: Mesh) -> Mesh:
    """The mesh and its mirror image in the plane y = 0."""
    flip = np.array([1., -1., 1.])
    order = [0, 2, 1]
    return merge([mesh, Mesh(mesh.positions[:, order] * flip, mesh.normals[:, order] * flip, mesh.uv[:, order],
                             mesh.colors, mesh.materials)])
