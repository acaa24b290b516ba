"""A spinning lidar, cast against the same meshes that the cameras see."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from .lighting import make_lighting
from .posing import FrameGeometry, Poser
from .scene import Frame, World

RINGS = 32
ELEVATIONS = np.radians(np.linspace(-30.67, 10.67, RINGS))  # of Velodyne's HDL-32E, the lowest ring first
STEPS = 1084  # azimuths a turn, about 20 Hz
MAX_RANGE = 100.0  # metres
GROUND_RANGE = 70.0  # metres: at such flat angles the ground returns too little
MIN_RANGE = 1.0
RANGE_NOISE = 0.02  # metres, standard deviation
DROP_OUT = 0.03  # share of echoes that are lost anyhow


@dataclass(frozen=True)
class LidarSweep:
    """One turn of the lidar."""

    points: np.ndarray  # (P, 5) float32: x, y, z in metres in the lidar frame, intensity 0..255, ring index
    instance_ids: np.ndarray  # (P,) int32, instance of the object that was hit; 0: none


@njit(cache=True, error_model='numpy')
def _cast(distance, hit, cosine, geometry, world2lidar, offset, elevations):
    """Intersect the rays with all triangles; keeps the nearest.

    Args:
        distance: (STEPS, RINGS) float64, metres along the ray so far; lowered.
        hit: (STEPS, RINGS) int64, triangle that was hit plus ``offset``; -1: none.
        cosine: (STEPS, RINGS) float64, of the angle of incidence.
        geometry (Geometry): The meshes.
        world2lidar: (3, 4) float64.
        offset (int): Added to triangle indices.
        elevations: (RINGS,) float64, radians, rising.
    """
    steps, rings = distance.shape
    tangents = np.tan(elevations)
    p = np.empty((3, 3))
    azimuth = np.empty(3)
    for m in range(geometry.spheres.shape[0]):
        s = geometry.spheres[m]
        cx = world2lidar[0, 0] * s[0] + world2lidar[0, 1] * s[1] + world2lidar[0, 2] * s[2] + world2lidar[0, 3]
        cy = world2lidar[1, 0] * s[0] + world2lidar[1, 1] * s[1] + world2lidar[1, 2] * s[2] + world2lidar[1, 3]
        if np.sqrt(cx * cx + cy * cy) - s[3] > MAX_RANGE:
            continue
        for t in range(geometry.starts[m], geometry.starts[m + 1]):
            for k in range(3):
                g = geometry.positions[t, k]
                for r in range(3):
                    p[k, r] = (world2lidar[r, 0] * g[0] + world2lidar[r, 1] * g[1] + world2lidar[r, 2] * g[2]
                               + world2lidar[r, 3])
            e1x, e1y, e1z = p[1, 0] - p[0, 0], p[1, 1] - p[0, 1], p[1, 2] - p[0, 2]
            e2x, e2y, e2z = p[2, 0] - p[0, 0], p[2, 1] - p[0, 1], p[2, 2] - p[0, 2]
            nx, ny, nz = e1y * e2z - e1z * e2y, e1z * e2x - e1x * e2z, e1x * e2y - e1y * e2x
            plane = nx * p[0, 0] + ny * p[0, 1] + nz * p[0, 2]
            if plane >= 0:  # seen from behind
                continue
            # Rings that can meet it: height over the nearest and farthest horizontal distance.
            far = 0.0
            near = 1e30
            for k in range(3):
                n = (k + 1) % 3
                far = max(far, p[k, 0]**2 + p[k, 1]**2)
                dx, dy = p[n, 0] - p[k, 0], p[n, 1] - p[k, 1]
                length = dx * dx + dy * dy
                along = 0.0
                if length > 0:
                    along = min(1.0, max(0.0, -(p[k, 0] * dx + p[k, 1] * dy) / length))
                near = min(near, (p[k, 0] + along * dx)**2 + (p[k, 1] + along * dy)**2)
            far, near = np.sqrt(far), max(1e-3, np.sqrt(near))
            if near > MAX_RANGE:
                continue
            high, low = max(p[0, 2], p[1, 2], p[2, 2]), min(p[0, 2], p[1, 2], p[2, 2])
            top = high / near if high > 0 else high / far
            bottom = low / far if low > 0 else low / near
            first_ring = np.searchsorted(tangents, bottom)
            last_ring = np.searchsorted(tangents, top + 1e-12)
            if first_ring >= last_ring:
                continue
            # Azimuths: from one corner, the others lie within half a turn, unless the axis goes through the triangle.
            for k in range(3):
                azimuth[k] = np.arctan2(p[k, 1], p[k, 0])
            d1 = azimuth[1] - azimuth[0]
            d2 = azimuth[2] - azimuth[0]
            d1 -= 2 * np.pi * np.round(d1 / (2 * np.pi))
            d2 -= 2 * np.pi * np.round(d2 / (2 * np.pi))
            start, stop = min(0.0, d1, d2), max(0.0, d1, d2)
            d12 = azimuth[2] - azimuth[1]
            d12 -= 2 * np.pi * np.round(d12 / (2 * np.pi))
            step = 2 * np.pi / steps
            if abs(d1 + d12 - d2) > 1e-6:  # around the axis
                first, last = 0, steps - 1
            else:
                first = int(np.ceil((azimuth[0] + start) / step))
                last = int(np.floor((azimuth[0] + stop) / step))
            area = np.sqrt(nx * nx + ny * ny + nz * nz)
            for a in range(first, last + 1):
                column = a % steps
                angle = a * step
                ca, sa = np.cos(angle), np.sin(angle)
                for ring in range(first_ring, last_ring):
                    dz = np.sin(elevations[ring])
                    flat = np.cos(elevations[ring])
                    dx, dy = ca * flat, sa * flat
                    facing = nx * dx + ny * dy + nz * dz
                    if facing >= -1e-12:
                        continue
                    reach = plane / facing
                    if reach <= 0 or reach >= distance[column, ring]:
                        continue
                    # Barycentric coordinates of the point of intersection.
                    qx, qy, qz = reach * dx - p[0, 0], reach * dy - p[0, 1], reach * dz - p[0, 2]
                    b1 = ((qy * e2z - qz * e2y) * nx + (qz * e2x - qx * e2z) * ny + (qx * e2y - qy * e2x) * nz)
                    b2 = ((e1y * qz - e1z * qy) * nx + (e1z * qx - e1x * qz) * ny + (e1x * qy - e1y * qx) * nz)
                    limit = area * area
                    if b1 < -1e-9 * limit or b2 < -1e-9 * limit or b1 + b2 > (1 + 1e-9) * limit:
                        continue
                    distance[column, ring] = reach
                    hit[column, ring] = offset + t
                    cosine[column, ring] = -facing / area


def cast_lidar(world: World, frame: Frame, rng: np.random.Generator, poser: Poser | None = None) -> LidarSweep:
    """Cast one sweep.

    Args:
        world: The scene.
        frame: One of its frames.
        rng: Draws range noise, drop-outs and intensities.
        poser: The world's meshes, if the caller has them already (`SceneRenderer.poser`).

    Returns:
        LidarSweep: Points ordered by azimuth, then ring. Those on an object lie inside of its box.
    """
    poser = poser or Poser(world, make_lighting(world.weather))
    geometry = poser.pose(frame)
    lidar2work = geometry.global2work @ np.asarray(frame.ego2global) @ np.asarray(world.rig.lidar2ego)
    work2lidar = np.linalg.inv(lidar2work)
    azimuth = 2 * np.pi * np.arange(STEPS) / STEPS
    flat, rise = np.cos(ELEVATIONS), np.sin(ELEVATIONS)
    rays = np.stack([np.cos(azimuth)[:, None] * flat, np.sin(azimuth)[:, None] * flat,
                     np.broadcast_to(rise, (STEPS, RINGS))], axis=-1)
    down = rays @ lidar2work[2, :3]
    with np.errstate(divide='ignore', invalid='ignore'):
        ground = np.where(down < 0, -lidar2work[2, 3] / down, np.inf)
    ground[ground > GROUND_RANGE] = np.inf
    distance = np.minimum(ground, MAX_RANGE)
    hit = np.full((STEPS, RINGS), -1, np.int64)
    cosine = np.where(np.isfinite(ground), -down, 0.0)
    number = len(geometry.objects.positions)
    _cast(distance, hit, cosine, geometry.objects, work2lidar[:3], 0, ELEVATIONS)
    _cast(distance, hit, cosine, geometry.props, work2lidar[:3], number, ELEVATIONS)

    echo = (hit >= 0) | np.isfinite(ground)
    owner = np.searchsorted(geometry.objects.starts, hit, side='right') - 1
    on_object = (hit >= 0) & (hit < number)
    looks = np.concatenate([geometry.objects.looks, geometry.props.looks])
    reflectivity = np.full((STEPS, RINGS), 0.18)
    reflectivity[hit >= 0] = 0.1 + 0.8 * looks[hit[hit >= 0], :3].mean(axis=1)
    # Weak echoes get lost: far, dark, or at a flat angle.
    strength = reflectivity * np.maximum(cosine, 0.05) * (60.0 / np.maximum(distance, 1.0))**2
    lost = rng.random((STEPS, RINGS)) < DROP_OUT + 0.9 * np.exp(-6 * strength) * (distance > 20)
    noisy = distance + RANGE_NOISE * rng.standard_normal((STEPS, RINGS))
    index = np.where(on_object, owner, -1)
    noisy = _keep_inside(noisy, distance, index, rays, frame, geometry, lidar2work)
    keep = echo & ~lost & (distance > MIN_RANGE)
    intensity = np.clip(255 * reflectivity * (0.35 + 0.65 * cosine) * rng.uniform(0.7, 1.1, (STEPS, RINGS)), 1, 255)
    points = np.concatenate([rays * noisy[..., None], np.floor(intensity)[..., None],
                             np.broadcast_to(np.arange(RINGS), (STEPS, RINGS))[..., None]], axis=-1)
    instances = np.where(on_object, np.append(geometry.instances, 0)[index], 0)
    return LidarSweep(points[keep].astype(np.float32), instances[keep].astype(np.int32))


def _keep_inside(noisy: np.ndarray, exact: np.ndarray, index: np.ndarray, rays: np.ndarray, frame: Frame,
                 geometry: FrameGeometry, lidar2work: np.ndarray) -> np.ndarray:
    """Limit the noisy distance to the part of the ray that is inside of the object's box; grazing rays stay exact."""
    chosen = index >= 0
    if not chosen.any():
        return noisy
    which = index[chosen]
    yaw = np.array([state.yaw for state in frame.objects])[which]
    half = 0.5 * np.array([state.size for state in frame.objects])[which][:, [1, 0, 2]] - 1e-3
    center = geometry.objects.spheres[which, :3]
    start = lidar2work[:3, 3] - center
    ray = rays[chosen] @ lidar2work[:3, :3].T
    cos, sin = np.cos(yaw), np.sin(yaw)
    start = np.stack([cos * start[:, 0] + sin * start[:, 1], cos * start[:, 1] - sin * start[:, 0], start[:, 2]],
                     axis=-1)
    ray = np.stack([cos * ray[:, 0] + sin * ray[:, 1], cos * ray[:, 1] - sin * ray[:, 0], ray[:, 2]], axis=-1)
    ray = np.where(np.abs(ray) < 1e-12, 1e-12, ray)
    one, two = (-half - start) / ray, (half - start) / ray
    enter, leave = np.minimum(one, two).max(axis=1), np.maximum(one, two).min(axis=1)
    result = noisy.copy()
    result[chosen] = np.where(enter < leave, np.clip(noisy[chosen], enter, leave), exact[chosen])
    return result
