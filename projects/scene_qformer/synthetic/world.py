"""Builds synthetic scenes: the same scene name, seed and length always give the same world."""
from __future__ import annotations

import zlib
from datetime import datetime, timedelta, timezone

import numpy as np
from nuscenes.eval.common.config import config_factory
from nuscenes.eval.detection.utils import category_to_detection_name

from .object_catalog import EGO_REAR_AXLE, EGO_SIZE
from .pedestrians import populate_sidewalks
from .rig import build_rig, pose, rotation_from_angles
from .road_builder import build_road_network
from .road_layouts import draw_road_plan
from .roadside import furnish_roadside
from .scene import Frame, ObjectState, World
from .scene_plan import ScenePlan, draw_scene_plan
from .scenery import build_scenery
from .tracks import Track, box_corners, overlapping
from .traffic import KEYFRAME_INTERVAL, WARM_UP, TrafficSimulation
from .vector_map import build_vector_map

ANNOTATION_RANGE = 68.0  # objects are annotated up to this far from the ego vehicle, metres
MAP_MARGIN = 20.0  # between the streets and the map's origin, metres
CLASS_RANGES: dict[str, int] = config_factory('detection_cvpr_2019').class_range  # metres, of the nuScenes metric
MIN_CLASS_SHARE = 0.35  # of the frames in which each class is within its range
_ATTEMPTS = 40
_INTERVAL_US = round(KEYFRAME_INTERVAL * 1e6)


def build_world(scene_name: str, num_frames: int = 40, seed: int = 0) -> World:
    """Build a scene.

    Worlds in which one of the ten detection classes is too rarely within the nuScenes metric's range of the ego vehicle
    are drawn again, from the next seed of the scene's own sequence.

    Args:
        scene_name (str): e.g. 'scene-0061'; together with ``seed`` it decides everything.
        num_frames (int): Key frames, at 2 Hz.
        seed (int): Of the whole data set.

    Returns:
        World: With global coordinates that are positive, so that a map mask covers them.

    Raises:
        ValueError: If ``num_frames`` is not positive.
        RuntimeError: If no drawn world holds all classes.
    """
    if num_frames < 1:
        raise ValueError(f'A scene needs at least 1 frame, got num_frames={num_frames}.')
    shares: dict[str, float] = {}
    for attempt in range(_ATTEMPTS):
        world = _draw_world(scene_name, num_frames, seed, attempt)
        shares = class_shares(world)
        if min(shares.values()) >= MIN_CLASS_SHARE:
            return world
    raise RuntimeError(f'No world of {scene_name!r} with seed {seed} and {num_frames} frames holds every detection '
                       f'class in {MIN_CLASS_SHARE:.0%} of its frames after {_ATTEMPTS} attempts; the last one had '
                       f'{shares}. Choose another seed.')


def class_shares(world: World) -> dict[str, float]:
    """For each detection class, the share of frames that hold one within the nuScenes metric's range."""
    counts = dict.fromkeys(CLASS_RANGES, 0)
    for frame in world.frames:
        ego = frame.ego2global[:2, 3]
        counted = set()
        for state in frame.objects:
            name = category_to_detection_name(state.category)
            if name is not None and np.linalg.norm(state.center[:2] - ego) < CLASS_RANGES[name]:
                counted.add(name)
        for name in counted:
            counts[name] += 1
    return {name: count / len(world.frames) for name, count in counts.items()}


def _draw_world(scene_name: str, num_frames: int, seed: int, attempt: int) -> World:
    sequence = np.random.SeedSequence([seed, zlib.crc32(scene_name.encode()), attempt])
    # One generator for each part, so that a change in one leaves the others as they are.
    rngs = [np.random.default_rng(child) for child in sequence.spawn(8)]
    plan_rng, road_rng, roadside_rng, walk_rng, traffic_rng, scenery_rng, rig_rng, pose_rng = rngs
    plan = draw_scene_plan(scene_name, plan_rng)
    road_plan = draw_road_plan(plan.layout, num_frames * KEYFRAME_INTERVAL + WARM_UP, road_rng)
    network = build_road_network(road_plan, plan.hand)
    corner = build_vector_map(network).sidewalks[0].min(axis=0)
    network = network.translated(np.round(MAP_MARGIN - corner))
    vector_map = build_vector_map(network)

    people = populate_sidewalks(network, plan.pedestrian_density, walk_rng)
    traffic = TrafficSimulation(network, people, plan.vehicle_spacing, traffic_rng)
    ego_centers, ego_yaws, moving = traffic.record(num_frames)
    parked = furnish_roadside(network, ego_centers, plan.parking_density, roadside_rng)
    candidates = [t.over(num_frames) for t in [*parked, *moving]]
    near = [t for t in candidates if np.any(np.linalg.norm(t.centers - ego_centers, axis=1) < ANNOTATION_RANGE + 5.0)]
    tracks = remove_overlaps(near, ego_centers, ego_yaws)
    start = _start_time(scene_name, plan.hour)
    return World(
        name=scene_name,
        location=plan.location,
        description=_describe(plan, tracks),
        seed=int(sequence.generate_state(1)[0]),
        vector_map=vector_map,
        props=build_scenery(network, vector_map, scenery_rng),
        weather=plan.weather,
        rig=build_rig(rig_rng),
        frames=_frames(tracks, _ego_poses(ego_centers, ego_yaws, pose_rng), start))


def remove_overlaps(tracks: list[Track], ego_centers: np.ndarray, ego_yaws: np.ndarray) -> list[Track]:
    """Drop every track whose box overlaps the ego vehicle's or an earlier track's at any key frame.

    The simulation keeps distances, so this catches the few cases that it does not know of: a long vehicle that cuts
    a corner, two pedestrians who meet.

    Args:
        tracks (list[Track]): Over T key frames each, the ones to be kept rather first.
        ego_centers (np.ndarray): (T, 2) middle of the ego vehicle.
        ego_yaws (np.ndarray): (T,).
    """
    count, frames = len(tracks) + 1, len(ego_centers)
    centers = np.stack([ego_centers, *[t.centers for t in tracks]])  # (1 + objects, T, 2)
    yaws = np.stack([ego_yaws, *[t.yaws for t in tracks]])
    sizes = np.array([EGO_SIZE, *[t.size for t in tracks]])
    corners = box_corners(centers, np.repeat(sizes[:, None], frames, axis=1), yaws)
    radius = np.hypot(sizes[:, 0], sizes[:, 1]) / 2
    first, second = np.triu_indices(count, 1)
    clashes: set[tuple[int, int]] = set()
    for frame in range(frames):
        at = centers[:, frame]
        apart = np.hypot(at[first, 0] - at[second, 0], at[first, 1] - at[second, 1])
        close = np.flatnonzero(apart < radius[first] + radius[second])  # false where one is absent (NaN)
        a, b = first[close], second[close]
        hit = overlapping(corners[a, frame], corners[b, frame])
        clashes.update(zip(a[hit].tolist(), b[hit].tolist()))
    dropped: set[int] = set()
    for kept, other in sorted(clashes):
        if kept not in dropped:
            dropped.add(other)
    return [track for i, track in enumerate(tracks, start=1) if i not in dropped]


def _ego_poses(centers: np.ndarray, yaws: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``ego2global`` (T, 4, 4): at the rear axle, with the slight pitch and roll of a sprung body."""
    time = np.arange(len(centers)) * KEYFRAME_INTERVAL
    pitch, roll = (np.radians(0.2) * np.sin(rng.uniform(0.5, 2.0) * time + rng.uniform(0.0, 6.0)) for _ in range(2))
    rear_axle = centers - EGO_REAR_AXLE * np.stack([np.cos(yaws), np.sin(yaws)], axis=1)
    return np.stack([pose(rotation_from_angles(y, p, r), np.array([*at, 0.0]))
                     for at, y, p, r in zip(rear_axle, yaws, pitch, roll)])


def _velocities(centers: np.ndarray) -> np.ndarray:
    """Velocities (T, 2) from annotated positions, as nuScenes' devkit derives them: central differences, one-sided at
    the ends; zero for an object that is annotated once."""
    if len(centers) == 1:
        return np.zeros((1, 2))
    index = np.arange(len(centers))
    before, after = np.maximum(index - 1, 0), np.minimum(index + 1, len(centers) - 1)
    return (centers[after] - centers[before]) / ((after - before)[:, None] * KEYFRAME_INTERVAL)


def _frames(tracks: list[Track], ego_poses: np.ndarray, start: int) -> list[Frame]:
    objects: list[list[ObjectState]] = [[] for _ in ego_poses]
    instance = 0
    for track in tracks:
        in_range = np.flatnonzero(np.linalg.norm(track.centers - ego_poses[:, :2, 3], axis=1) < ANNOTATION_RANGE)
        if len(in_range) == 0 or (len(in_range) == 1 and len(ego_poses) > 1):
            continue
        instance += 1
        first, last = in_range[0], in_range[-1] + 1  # one unbroken run, even if the object is out of range in between
        centers = np.round(track.centers, 6)  # as the tables will have them
        velocities = _velocities(centers[first:last])
        for frame in range(first, last):
            center = np.array([*centers[frame], track.size[2] / 2])
            objects[frame].append(
                ObjectState(instance, track.category, track.attributes[frame], center, track.size,
                            float(track.yaws[frame]), velocities[frame - first], track.seed,
                            float(track.phases[frame])))
    return [Frame(start + i * _INTERVAL_US, matrix, states)
            for i, (matrix, states) in enumerate(zip(ego_poses, objects))]


def _start_time(scene_name: str, hour: int) -> int:
    """Microseconds since the epoch; scene numbers spread over days and minutes, so that no two logs coincide."""
    number = int(scene_name.rsplit('-', 1)[-1]) if scene_name.rsplit('-', 1)[-1].isdigit() else \
        zlib.crc32(scene_name.encode()) % 10_000
    start = datetime(2018, 7, 1, hour, tzinfo=timezone.utc)
    return int((start + timedelta(days=number // 10, minutes=6 * (number % 10))).timestamp()) * 1_000_000


def _describe(plan: ScenePlan, tracks: list[Track]) -> str:
    kinds = {track.kind for track in tracks}
    remarks = {'bus': 'bus', 'tractor': 'truck with trailer', 'worker': 'construction workers',
               'motorcycle': 'motorcycles', 'bicycle': 'bicycles'}
    return ', '.join([plan.condition.capitalize(), plan.layout.replace('_', ' '), 'parked cars',
                      *[text for kind, text in remarks.items() if kind in kinds]])
