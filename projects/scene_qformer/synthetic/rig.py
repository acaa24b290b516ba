"""The sensor rig of a nuScenes-like vehicle: six cameras and a roof lidar, calibrated anew for every log.

Mounting positions, viewing directions and intrinsics are typical of nuScenes' published calibrations::

                     x (forward)
                     ^
          FL  \\    FRONT    /  FR         yaw, counter-clockwise from x:
               \\     |     /              FRONT 0, FRONT_LEFT 55, BACK_LEFT 109,
      y <---        ego         ---       BACK 180, BACK_RIGHT -110, FRONT_RIGHT -56
               /     |     \
          BL  /    BACK     \\  BR
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .scene import Camera, Rig

IMAGE_SIZE = (1600, 900)  # width, height, pixels


class _Mount(NamedTuple):
    position: tuple[float, float, float]  # in ego, metres
    yaw: float  # degrees
    pitch: float  # degrees, positive looks down
    focal: float  # pixels
    principal_point: tuple[float, float]  # pixels


CAMERA_MOUNTS = {
    'CAM_FRONT': _Mount((1.70, 0.01, 1.51), 0.3, -0.1, 1266.0, (816.0, 491.0)),
    'CAM_FRONT_RIGHT': _Mount((1.55, -0.49, 1.50), -56.0, 0.1, 1261.0, (808.0, 495.0)),
    'CAM_FRONT_LEFT': _Mount((1.52, 0.49, 1.51), 55.0, -0.2, 1272.0, (826.0, 480.0)),
    'CAM_BACK': _Mount((0.03, 0.00, 1.58), 180.0, 0.3, 809.0, (829.0, 482.0)),
    'CAM_BACK_LEFT': _Mount((1.04, 0.48, 1.59), 108.5, -0.2, 1257.0, (792.0, 493.0)),
    'CAM_BACK_RIGHT': _Mount((1.01, -0.48, 1.56), -110.5, 0.0, 1259.0, (807.0, 501.0)),
}
LIDAR_POSITION = (0.94, 0.0, 1.84)  # in ego, metres
LIDAR_YAW = -90.0  # degrees

# Standard deviations of the jitter from log to log.
_POSITION_JITTER = 0.015  # metres
_ANGLE_JITTER = 0.3  # degrees
_FOCAL_JITTER = 4.0  # pixels
_PRINCIPAL_POINT_JITTER = 6.0  # pixels

# Columns: the axes of an unrotated camera (x right, y down, z forward) in the ego frame (x forward, y left, z up).
_CAMERA_AXES_IN_EGO = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def rotation_from_angles(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """``Rz(yaw) Ry(pitch) Rx(roll)``, (3, 3); radians. With x forward and z up, positive pitch looks down."""
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in (yaw, pitch, roll))
    rz = np.array([[cy, -sy, 0.0], [sy, cy, 0.0], [0.0, 0.0, 1.0]])
    ry = np.array([[cp, 0.0, sp], [0.0, 1.0, 0.0], [-sp, 0.0, cp]])
    rx = np.array([[1.0, 0.0, 0.0], [0.0, cr, -sr], [0.0, sr, cr]])
    return rz @ ry @ rx


def pose(rotation: np.ndarray, position: tuple[float, float, float] | np.ndarray) -> np.ndarray:
    """The 4x4 matrix of a rotation (3, 3) and a translation (3,)."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = position
    return matrix


def build_rig(rng: np.random.Generator) -> Rig:
    """A rig as calibrated for one log.

    Args:
        rng (np.random.Generator): Source of the jitter: centimetres, tenths of a degree, a few pixels.

    Returns:
        Rig: Six cameras of 1600x900 in nuScenes' channel order, and LIDAR_TOP.
    """

    def jittered_pose(position: tuple[float, float, float], yaw: float, pitch: float, axes: np.ndarray) -> np.ndarray:
        angles = np.radians(np.array([yaw, pitch, 0.0]) + rng.normal(0.0, _ANGLE_JITTER, 3))
        return pose(rotation_from_angles(*angles) @ axes, position + rng.normal(0.0, _POSITION_JITTER, 3))

    width, height = IMAGE_SIZE
    cameras = []
    for name, mount in CAMERA_MOUNTS.items():
        focal = mount.focal + rng.normal(0.0, _FOCAL_JITTER)
        cx, cy = mount.principal_point + rng.normal(0.0, _PRINCIPAL_POINT_JITTER, 2)
        cam2img = np.array([[focal, 0.0, cx], [0.0, focal, cy], [0.0, 0.0, 1.0]])
        cam2ego = jittered_pose(mount.position, mount.yaw, mount.pitch, _CAMERA_AXES_IN_EGO)
        cameras.append(Camera(name, width, height, cam2img, cam2ego))
    return Rig(tuple(cameras), jittered_pose(LIDAR_POSITION, LIDAR_YAW, 0.0, np.eye(3)))
