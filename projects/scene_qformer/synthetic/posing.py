"""Puts the meshes of a world's objects and props into place for one frame, and lights their corners."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from .lamps import has_headlights, headlight_spots, lamp_light, street_lamps
from .lighting import Lighting
from .meshes import Mesh
from .rasterizer import Geometry
from .scene import Frame, ObjectState, World
from .scenery_shapes import skyline
from .shapes import POSES, object_mesh, prop_mesh


@dataclass(frozen=True)
class FrameGeometry:
    """Everything of one frame in the working frame: global axes, metres, shifted near the rig."""

    global2work: np.ndarray  # (4, 4), a shift in x and y
    objects: Geometry
    props: Geometry
    instances: np.ndarray  # (M,) int32, instance of each object
    footprints: np.ndarray  # (M, 4, 2), outlines of the objects on the ground
    lamps: np.ndarray  # (K, 4): x, y, radius, strength of the lit spots on the ground
    ego: np.ndarray  # (2,), the rig


@njit(cache=True, error_model='numpy')
def _place(positions, normals, uv, pose, foot, height, glow, to_sun, out_positions, out_normals, out_attributes):
    """Pose one mesh and light its corners.

    Sunlight follows Lambert's law. The sky's light is dimmer from below and near the ground; ``glow`` adds the lamps'.
    ``pose`` holds cos and sin of the yaw, x, y, z; ``foot`` and ``height`` say where it is dim near the ground.
    """
    cos, sin, x0, y0, z0 = pose[0], pose[1], pose[2], pose[3], pose[4]
    for t in range(positions.shape[0]):
        for k in range(3):
            x, y, z = positions[t, k, 0], positions[t, k, 1], positions[t, k, 2]
            out_positions[t, k, 0] = cos * x - sin * y + x0
            out_positions[t, k, 1] = sin * x + cos * y + y0
            out_positions[t, k, 2] = z + z0
            nx, ny, nz = normals[t, k, 0], normals[t, k, 1], normals[t, k, 2]
            gx, gy = cos * nx - sin * ny, sin * nx + cos * ny
            out_normals[t, k, 0], out_normals[t, k, 1], out_normals[t, k, 2] = gx, gy, nz
            out_attributes[t, k, 0] = max(0.0, gx * to_sun[0] + gy * to_sun[1] + nz * to_sun[2])
            low = min(1.0, max(0.0, (z + z0 - foot) / height))
            out_attributes[t, k, 1] = (0.74 + 0.26 * nz) * (0.62 + 0.38 * low) + glow * (1 + 0.3 * nz)
            out_attributes[t, k, 2], out_attributes[t, k, 3] = uv[t, k, 0], uv[t, k, 1]


def pack(meshes: list[Mesh], yaws: np.ndarray, centers: np.ndarray, to_sun: np.ndarray,
         glows: np.ndarray | None = None) -> Geometry:
    """Pose meshes (yaw, then shift) and light them; ``glows`` (M,) is lamp light relative to the ambient light."""
    starts = np.concatenate([[0], np.cumsum([len(mesh) for mesh in meshes])]).astype(np.int64)
    total = int(starts[-1])
    geometry = Geometry(np.empty((total, 3, 3)), np.empty((total, 3, 3)), np.empty((total, 3, 4)),
                        np.empty((total, 4), np.float32), starts, np.empty((len(meshes), 4)))
    for k, (mesh, yaw, center) in enumerate(zip(meshes, yaws, centers)):
        part = slice(starts[k], starts[k + 1])
        low, high = mesh.bounds
        half, middle = 0.5 * (high - low), 0.5 * (low + high)
        pose = np.array([np.cos(yaw), np.sin(yaw), *center])
        _place(mesh.positions, mesh.normals, mesh.uv, pose, center[2] + low[2], min(1.0, 2 * half[2]),
               0.0 if glows is None else glows[k], to_sun, geometry.positions[part], geometry.normals[part],
               geometry.attributes[part])
        geometry.looks[part, :3], geometry.looks[part, 3] = mesh.colors, mesh.materials
        turned = pose[0] * middle[:2] + pose[1] * np.array([-middle[1], middle[0]])
        geometry.spheres[k, :3] = center + np.append(turned, middle[2])
        geometry.spheres[k, 3] = np.linalg.norm(half) + 1e-6
    return geometry


class Poser:
    """Makes a world's meshes once and poses them frame by frame."""

    def __init__(self, world: World, lighting: Lighting) -> None:
        self.lighting = lighting
        self.shift = np.append(np.asarray(world.frames[0].ego2global)[:2, 3], 0.0) if world.frames else np.zeros(3)
        self._meshes: dict[tuple, Mesh] = {}
        self._last: tuple[Frame, FrameGeometry] | None = None
        props = world.props
        centers = np.array([prop.center for prop in props], dtype=np.float64).reshape(-1, 3) - self.shift
        meshes = [prop_mesh(prop.kind, prop.size, prop.seed) for prop in props]
        corners = np.concatenate([*world.vector_map.drivable_areas, np.zeros((0, 2))]) - self.shift[:2]
        low, high = (corners.min(axis=0), corners.max(axis=0)) if len(corners) else (np.zeros(2), np.zeros(2))
        far = skyline(np.random.default_rng([world.seed, 2]), 0.5 * (low + high),
                      170 + 0.5 * float(np.hypot(*(high - low))))
        self.props = pack([*meshes, *far], np.array([*(prop.yaw for prop in props), *np.zeros(len(far))]),
                          np.concatenate([centers, np.zeros((len(far), 3))]), lighting.to_sun)
        self._street_lamps = street_lamps(props, centers)

    def mesh(self, state: ObjectState) -> Mesh:
        """The object's mesh in its own frame."""
        pose = int(np.floor(state.phase / (2 * np.pi) * POSES)) % POSES
        key = (state.category, state.attribute, tuple(state.size), state.seed, pose)
        if key not in self._meshes:
            self._meshes[key] = object_mesh(state.category, state.attribute, state.size, state.seed,
                                            2 * np.pi * pose / POSES)
        return self._meshes[key]

    def pose(self, frame: Frame) -> FrameGeometry:
        """All geometry of a frame; the last one is kept."""
        if self._last is None or self._last[0] is not frame:
            self._last = frame, self._pose(frame)
        return self._last[1]

    def _pose(self, frame: Frame) -> FrameGeometry:
        objects = frame.objects
        global2work = np.eye(4)
        global2work[:3, 3] = -self.shift
        centers = np.array([state.center for state in objects], dtype=np.float64).reshape(-1, 3) - self.shift
        yaws = np.array([state.yaw for state in objects])
        ego2work = global2work @ np.asarray(frame.ego2global)
        lamps = np.zeros((0, 4))
        glows = np.zeros(len(objects))
        if self.lighting.night > 0:
            lamps = np.concatenate([self._street_lamps, headlight_spots(ego2work[:2, 3], ego2work[:2, 0], 0.95)]
                                   + [headlight_spots(center[:2], np.array([np.cos(state.yaw), np.sin(state.yaw)]), 0.6,
                                                      0.5 * state.size[1])
                                      for state, center in zip(objects, centers) if has_headlights(state)])
            light = lamp_light(lamps, centers[:, :2])
            glows = np.minimum(light, 1.2) * self.lighting.lamp.mean() / self.lighting.ambient.mean()
        geometry = pack([self.mesh(state) for state in objects], yaws, centers, self.lighting.to_sun, glows)
        sizes = np.array([state.size for state in objects]).reshape(-1, 3)
        forward = np.stack([np.cos(yaws), np.sin(yaws)], axis=-1) * 0.5 * sizes[:, 1:2]
        left = np.stack([-np.sin(yaws), np.cos(yaws)], axis=-1) * 0.5 * sizes[:, :1]
        corners = np.stack([forward + left, left - forward, -forward - left, forward - left], axis=1)
        instances = np.array([state.instance for state in objects], np.int32)
        return FrameGeometry(global2work, geometry, self.props, instances,
                             centers[:, None, :2] + corners, lamps, ego2work[:2, 3])
