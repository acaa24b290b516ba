"""Puts the meshes of a world's objects and props into place for one frame, and lights their corners."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from .lighting import Lighting
from .meshes import Mesh
from .rasterizer import Geometry
from .scene import Frame, ObjectState, World
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
def _light(positions, normals, foot, height, to_sun, attributes):
    """Sunlight and ambient light at each corner: Lambert's law, and a sky that is dimmer from below and near the ground."""
    for t in range(positions.shape[0]):
        for k in range(3):
            n = normals[t, k]
            lambert = n[0] * to_sun[0] + n[1] * to_sun[1] + n[2] * to_sun[2]
            attributes[t, k, 0] = max(0.0, lambert)
            low = min(1.0, max(0.0, (positions[t, k, 2] - foot) / height))
            attributes[t, k, 1] = (0.72 + 0.28 * n[2]) * (0.62 + 0.38 * low)


def rotation_z(yaw: float) -> np.ndarray:
    """(3, 3) rotation about z, counter-clockwise."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, -sin, 0.], [sin, cos, 0.], [0., 0., 1.]])


def pack(meshes: list[Mesh], yaws: np.ndarray, centers: np.ndarray, to_sun: np.ndarray) -> Geometry:
    """Pose meshes (yaw, then shift) and light them."""
    if not meshes:
        return Geometry(np.zeros((0, 3, 3)), np.zeros((0, 3, 3)), np.zeros((0, 3, 4)), np.zeros((0, 4), np.float32),
                        np.zeros(1, np.int64), np.zeros((0, 4)))
    starts = np.concatenate([[0], np.cumsum([len(mesh) for mesh in meshes])]).astype(np.int64)
    total = int(starts[-1])
    positions, normals = np.empty((total, 3, 3)), np.empty((total, 3, 3))
    attributes, looks = np.empty((total, 3, 4)), np.empty((total, 4), np.float32)
    spheres = np.empty((len(meshes), 4))
    for k, (mesh, yaw, center) in enumerate(zip(meshes, yaws, centers)):
        part = slice(starts[k], starts[k + 1])
        rotation = rotation_z(yaw)
        positions[part] = mesh.positions @ rotation.T + center
        normals[part] = mesh.normals @ rotation.T
        attributes[part, :, 2:] = mesh.uv
        looks[part, :3], looks[part, 3] = mesh.colors, mesh.materials
        half = 0.5 * (mesh.positions.max(axis=(0, 1)) - mesh.positions.min(axis=(0, 1)))
        spheres[k, :3] = center
        spheres[k, 3] = np.linalg.norm(half) + 1e-6
        _light(positions[part], normals[part], center[2] - half[2], min(1.0, 2 * half[2]), to_sun, attributes[part])
    return Geometry(positions, normals, attributes, looks, starts, spheres)


class Poser:
    """Makes a world's meshes once and poses them frame by frame."""

    def __init__(self, world: World, lighting: Lighting) -> None:
        self.lighting = lighting
        self.shift = np.append(np.asarray(world.frames[0].ego2global)[:2, 3], 0.0) if world.frames else np.zeros(3)
        self._meshes: dict[tuple, Mesh] = {}
        props = world.props
        self.props = pack([prop_mesh(prop.kind, prop.size, prop.seed) for prop in props],
                          np.array([prop.yaw for prop in props]),
                          np.array([prop.center for prop in props], dtype=np.float64).reshape(-1, 3) - self.shift,
                          lighting.to_sun)

    def mesh(self, state: ObjectState) -> Mesh:
        """The object's mesh in its own frame."""
        pose = int(np.floor(state.phase / (2 * np.pi) * POSES)) % POSES
        key = (state.category, state.attribute, tuple(state.size), state.seed, pose)
        if key not in self._meshes:
            self._meshes[key] = object_mesh(state.category, state.attribute, state.size, state.seed,
                                            2 * np.pi * pose / POSES)
        return self._meshes[key]

    def pose(self, frame: Frame) -> FrameGeometry:
        """All geometry of a frame."""
        objects = frame.objects
        centers = np.array([state.center for state in objects], dtype=np.float64).reshape(-1, 3) - self.shift
        yaws = np.array([state.yaw for state in objects])
        geometry = pack([self.mesh(state) for state in objects], yaws, centers, self.lighting.to_sun)
        global2work = np.eye(4)
        global2work[:3, 3] = -self.shift
        sizes = np.array([state.size for state in objects]).reshape(-1, 3)
        forward = np.stack([np.cos(yaws), np.sin(yaws)], axis=-1) * 0.5 * sizes[:, 1:2]
        left = np.stack([-np.sin(yaws), np.cos(yaws)], axis=-1) * 0.5 * sizes[:, :1]
        corners = np.stack([forward + left, left - forward, -forward - left, forward - left], axis=1)
        ego = np.asarray(frame.ego2global)[:2, 3] - self.shift[:2]
        return FrameGeometry(global2work, geometry, self.props, np.array([state.instance for state in objects], np.int32),
                             centers[:, None, :2] + corners, np.zeros((0, 4)), ego)
