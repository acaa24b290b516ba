"""A hand-made scene for the tests of rendering: a straight road along x, a rig at the origin."""
from __future__ import annotations

import numpy as np

from scene_qformer.synthetic.scene import Camera, Frame, ObjectState, Prop, Rig, VectorMap, Weather, World

CLEAR = dict(sun_azimuth=1.0, sun_elevation=0.9, brightness=1.0, cloudiness=0.0, wetness=0.0, fog=0.0, noise=0.0)


def camera(yaw: float = 0.0, position: tuple[float, float, float] = (0., 0., 1.44), width: int = 80, height: int = 60,
           focal: float = 50.0, center: tuple[float, float] = (40., 30.)) -> Camera:
    """Looks along ``yaw`` (radians from ego x), level."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    cam2ego = np.eye(4)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    cam2ego[:3, :3] = turn @ np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    cam2ego[:3, 3] = position
    cam2img = np.array([[focal, 0, center[0]], [0, focal, center[1]], [0, 0, 1.]])
    return Camera('CAM_TEST', width, height, cam2img, cam2ego)


def thing(instance: int, x: float, y: float, size: tuple[float, float, float], yaw: float = 0.0,
          category: str = 'vehicle.car', attribute: str = 'vehicle.moving', seed: int = 3) -> ObjectState:
    """An object that stands on the ground."""
    return ObjectState(instance, category, attribute, np.array([x, y, 0.5 * size[2]]), size, yaw, np.zeros(2), seed,
                       0.7 * instance)


def rectangle(x0: float, x1: float, y0: float, y1: float) -> np.ndarray:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=np.float64)


def world(objects: list[ObjectState], props: list[Prop] | None = None, ego2global: np.ndarray | None = None,
          vector_map: VectorMap | None = None, **weather: float) -> World:
    """One frame of a road from x = -40 to 60, 14 m wide."""
    vector_map = vector_map or VectorMap(drivable_areas=[rectangle(-40, 60, -7, 7)],
                                         sidewalks=[rectangle(-40, 60, 7, 11)])
    lidar2ego = np.eye(4)
    lidar2ego[:3, :3] = [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]
    lidar2ego[:3, 3] = 0.9, 0.0, 1.84
    frame = Frame(0, np.eye(4) if ego2global is None else ego2global, objects)
    return World('scene-0061', 'boston-seaport', 'test', 5, vector_map, props or [], Weather(**{**CLEAR, **weather}),
                 Rig((camera(),), lidar2ego), [frame])
