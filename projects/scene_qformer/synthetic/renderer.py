"""Renders the camera images of a synthetic world."""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from . import noise, rasterizer, shading, shadows
from . import sky as skies
from .ground import paint_ground
from .lighting import make_lighting
from .posing import FrameGeometry, Poser
from .scene import Camera, Frame, World

MARGIN_TRIANGLES = 1.3  # room for triangles that the near plane cuts in two


@dataclass(frozen=True)
class RenderedView:
    """One camera's image of one frame."""

    image: np.ndarray  # (H, W, 3) uint8, BGR
    instance_ids: np.ndarray | None  # (H, W) int32, instance of the object in front; 0: none; None: not asked for
    visible_pixels: dict[int, int]  # per instance that would cover any pixel of the image: pixels that show it
    amodal_pixels: dict[int, int]  # the same: pixels that it would cover if nothing else were there


class SceneRenderer:
    """Renders the views of one world.

    Meshes, ground and sky are prepared once a world, poses and shadows once a frame; so ask for the cameras of one
    frame one after the other. The same world, frame, camera and generator state give the same bytes.

    Args:
        world: The scene.

    Raises:
        ValueError: If the world's map has no drivable area.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.lighting = make_lighting(world.weather)
        rng = np.random.default_rng([world.seed, 1])
        self.drift = rng.random(2)
        self.palette = _ground_palette(rng, world.weather.wetness)
        self.texture = paint_ground(world.vector_map)
        self.poser = Poser(world, self.lighting)
        self._frame: Frame | None = None
        self._geometry: FrameGeometry | None = None
        self._shadow_map: tuple[np.ndarray, np.ndarray] | None = None
        self._buffers: dict[tuple[int, int], rasterizer.Buffers] = {}
        self._token = 0

    def render(self, frame: Frame, camera: Camera, rng: np.random.Generator,
               with_instance_ids: bool = True) -> RenderedView:
        """Render one camera.

        Args:
            frame: A frame of the world.
            camera: Any pinhole camera; skew is not supported.
            rng: Draws exposure and sensor noise.
            with_instance_ids: Also tell which object each pixel shows.

        Raises:
            ValueError: If the intrinsics have a skew or no positive focal length.
        """
        cam2img = np.asarray(camera.cam2img, dtype=np.float64)
        if abs(cam2img[0, 1]) > 1e-9 or min(cam2img[0, 0], cam2img[1, 1]) <= 0:
            raise ValueError(f'{camera.name}: expected intrinsics with positive focal lengths and no skew, '
                             f'got {cam2img.tolist()}')
        self._prepare(frame)
        assert self._geometry is not None and self._shadow_map is not None
        geometry, (shadow_map, shadow_origin) = self._geometry, self._shadow_map
        cam2work = geometry.global2work @ np.asarray(frame.ego2global) @ np.asarray(camera.cam2ego)
        work2cam = np.linalg.inv(cam2work)
        eye = cam2work[:3, 3].copy()
        projection = np.zeros((4, 4))
        projection[:3] = work2cam[:3]
        projection[3] = cam2img[0, 0], cam2img[1, 1], cam2img[0, 2], cam2img[1, 2]
        rays = cam2work[:3, :3] @ np.linalg.inv(cam2img)

        buffers = self._clear_buffers(camera.height, camera.width, geometry)
        num_objects = len(geometry.instances)
        amodal = np.zeros(num_objects, np.int64)
        count = 0
        for group, is_objects in ((geometry.objects, True), (geometry.props, False)):
            distance = np.linalg.norm(group.spheres[:, :3] - eye, axis=1) - group.spheres[:, 3]
            order = np.argsort(distance, kind='stable')
            number = len(group.spheres)
            owners = np.arange(number, dtype=np.int32) if is_objects else np.full(number, -1, np.int32)
            count = rasterizer.draw(buffers, count, group, order, owners, self._token if is_objects else -1, projection,
                                    eye, self.lighting.to_sun, amodal if is_objects else np.zeros(number, np.int64))
        self._token += num_objects
        if count > len(buffers.owner):
            raise RuntimeError(f'{count} screen triangles, expected at most {len(buffers.owner)}')

        step = skies.SKY_STEP
        sky = np.empty((camera.height // step + 2, camera.width // step + 2, 3), np.float32)
        skies.paint_sky(sky, rays, self.lighting, noise.cloud_noise(), self.drift)
        image = np.empty((camera.height, camera.width, 3), np.uint8)
        visible = np.zeros(num_objects, np.int64)
        rows, develop = self._exposure(camera, rng)
        texture = self.texture._replace(origin=self.texture.origin + np.append(geometry.global2work[:2, 3], 0.0))
        shading.shade(image, visible, buffers, rays, eye, texture, shadow_map, shadow_origin,
                      self.lighting, self.palette, sky, noise.surface_noise(), noise.sensor_noise(), rows, develop)
        if self.world.weather.wetness > 0.3:
            _draw_rain(image, self.world.weather.wetness, self.lighting.horizon, rng)
        seen = np.flatnonzero(amodal)
        instances = geometry.instances
        ids = _instance_ids(buffers, instances, count) if with_instance_ids else None
        return RenderedView(image, ids, {int(instances[k]): int(visible[k]) for k in seen},
                            {int(instances[k]): int(amodal[k]) for k in seen})

    def _prepare(self, frame: Frame) -> None:
        if frame is self._frame:
            return
        self._geometry = self.poser.pose(frame)
        self._shadow_map = shadows.cast_shadows([self._geometry.objects, self._geometry.props],
                                                self._geometry.footprints, self._geometry.lamps, self.lighting,
                                                self._geometry.ego)
        self._frame = frame

    def _clear_buffers(self, height: int, width: int, geometry: FrameGeometry) -> rasterizer.Buffers:
        capacity = int(MARGIN_TRIANGLES * (geometry.objects.starts[-1] + geometry.props.starts[-1])) + 100
        buffers = self._buffers.get((height, width))
        if buffers is None or len(buffers.owner) < capacity:
            buffers = rasterizer.make_buffers(height, width, capacity)
            self._buffers[height, width] = buffers
        else:
            buffers.inv_depth.fill(0)
            buffers.triangle.fill(-1)
        return buffers

    def _exposure(self, camera: Camera, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Start of each row's noise in the bank; gains, vignette and noise level."""
        rows = rng.integers(0, noise.SENSOR_BANK - 3 * camera.width, camera.height)
        gain = (1 + 0.03 * rng.standard_normal()) * (1 + 0.01 * rng.standard_normal(3))
        return rows, np.array([*np.clip(gain, 0.85, 1.15), 0.16, self.world.weather.noise])


def _instance_ids(buffers: rasterizer.Buffers, instances: np.ndarray, count: int) -> np.ndarray:
    """``(H, W)`` int32, from the ``count`` drawn triangles."""
    owner = np.append(buffers.owner[:count], -1)  # the last entry is for pixels without a triangle, whose index is -1
    return np.append(instances, 0).astype(np.int32)[owner][buffers.triangle]


def _ground_palette(rng: np.random.Generator, wetness: float) -> np.ndarray:
    """BGR albedo of asphalt, sidewalk, open ground and kerb, a little different in each scene."""
    asphalt = np.array([0.295, 0.285, 0.275]) * rng.uniform(0.8, 1.15)
    sidewalk = np.array([0.50, 0.54, 0.56]) * rng.uniform(0.9, 1.1)
    lawn = np.array([0.17, 0.34, 0.27]) * rng.uniform(0.8, 1.15) + rng.uniform(0, 0.06, 3)
    return np.stack([asphalt, sidewalk, lawn, np.array([0.60, 0.62, 0.63])])


def _draw_rain(image: np.ndarray, wetness: float, light: np.ndarray, rng: np.random.Generator) -> None:
    """Faint streaks of falling drops."""
    height, width = image.shape[:2]
    number = int(width * height / 1600 * wetness)
    start = rng.random((number, 2)) * [width, height]
    length = rng.uniform(0.01, 0.035, number) * height
    slant = rng.normal(-0.12, 0.04, number)
    layer = np.zeros((height, width), np.uint8)
    ends = start + np.stack([slant * length, length], axis=1)
    lines = np.stack([start, ends], axis=1).round().astype(np.int32)
    cv2.polylines(layer, list(lines), False, 42, 1, cv2.LINE_AA)
    cv2.add(image, cv2.merge([layer] * 3), dst=image)
