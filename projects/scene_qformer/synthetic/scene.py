"""What a synthetic scene is made of: the plain data that the world builder writes and the renderer reads.

Frames (right-handed, metres, radians, seconds)::

    global   x east, y north, z up; the ground is the plane z = 0
    ego      x forward, y left, z up; origin on the ground below the rear axle
    lidar    nuScenes' LIDAR_TOP: x right, y forward, z up (yaw -90 deg from ego), origin at the sensor
    camera   x right, y down, z forward (the optical axis)

      ego / global, seen from above          camera, seen from behind
            x (forward)                            z (into the scene)
            ^                                     /
            |                                    +---> x (right)
      y <---+  (z towards you)                   |
                                                 v y (down)

``A2B`` is the 4x4 float64 matrix that takes homogeneous points of frame A to frame B.
All sensors of a frame fire at the same instant: nuScenes' few milliseconds between its cameras are left out, so that
an annotation and its pixels can be compared exactly.
"""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion."""

    name: str  # channel, e.g. 'CAM_FRONT'
    width: int  # pixels
    height: int  # pixels
    cam2img: np.ndarray  # (3, 3) intrinsics, pixels; the pixel in column j, row i covers [j, j+1) x [i, i+1)
    cam2ego: np.ndarray  # (4, 4)


@dataclass(frozen=True)
class Rig:
    """The sensors of one vehicle, as calibrated for one log."""

    cameras: tuple[Camera, ...]
    lidar2ego: np.ndarray  # (4, 4)


@dataclass(frozen=True)
class ObjectState:
    """One annotated object at one instant. The box is centred: ``center[2]`` is ``size[2] / 2`` above the ground."""

    instance: int  # > 0, constant over the scene; 0 means "no object" in id images
    category: str  # full nuScenes category, e.g. 'vehicle.car', 'human.pedestrian.adult', 'movable_object.trafficcone'
    attribute: str  # e.g. 'vehicle.moving', 'pedestrian.standing', 'cycle.with_rider'; '' for cones and barriers
    center: np.ndarray  # (3,) global
    size: tuple[float, float, float]  # width, length, height: the devkit's order
    yaw: float  # global heading of the box's length axis, counter-clockwise from x
    velocity: np.ndarray  # (2,) global, m/s
    seed: int  # constant over the scene: colour and shape variation
    phase: float = 0.0  # gait or wheel phase, radians; for looks only


@dataclass(frozen=True)
class Prop:
    """Scenery that is drawn and hides things but is not annotated."""

    kind: str  # 'building', 'tree', 'pole', 'wall'
    center: np.ndarray  # (3,) global, centre of its box
    size: tuple[float, float, float]  # width, length, height
    yaw: float
    seed: int


@dataclass(frozen=True)
class VectorMap:
    """The map as polylines and polygons in global x, y. Each array is (K, 2) float64; polygons are not closed."""

    drivable_areas: list[np.ndarray] = field(default_factory=list)  # polygons, may overlap; drawn as asphalt
    sidewalks: list[np.ndarray] = field(default_factory=list)  # polygons; drivable areas win where both lie
    boundaries: list[np.ndarray] = field(default_factory=list)  # polylines: the edge of the drivable area
    dividers: list[np.ndarray] = field(default_factory=list)  # polylines between lanes of one direction: dashed white
    centre_dividers: list[np.ndarray] = field(default_factory=list)  # polylines between directions: solid yellow
    crossings: list[np.ndarray] = field(default_factory=list)  # quads, zebra stripes parallel to the first edge
    stop_lines: list[np.ndarray] = field(default_factory=list)  # 2-point polylines: solid white


@dataclass(frozen=True)
class Weather:
    """Light and weather of a scene."""

    sun_azimuth: float  # radians, global, direction towards the sun
    sun_elevation: float  # radians above the horizon
    brightness: float  # 1 = clear noon, about 0.25 = night
    cloudiness: float  # 0 clear .. 1 overcast (soft light, no shadows)
    wetness: float  # 0 dry .. 1 rain: darker ground, streaks or drops
    fog: float  # extinction, 1/m; 0.002 is hazy
    noise: float  # sensor noise, standard deviation in 8-bit grey levels


@dataclass(frozen=True)
class Frame:
    """One key frame."""

    timestamp: int  # microseconds
    ego2global: np.ndarray  # (4, 4)
    objects: list[ObjectState]


@dataclass(frozen=True)
class World:
    """One scene: a place, its scenery and what happens there over some seconds."""

    name: str  # e.g. 'scene-0061'
    location: str  # e.g. 'boston-seaport'
    description: str  # e.g. 'Night, rain, junction, parked cars'
    seed: int
    vector_map: VectorMap
    props: list[Prop]
    weather: Weather
    rig: Rig
    frames: list[Frame]
