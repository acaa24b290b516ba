"""The tables of a nuScenes root, made from worlds and from what their sensors measured."""
from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np
from pyquaternion import Quaternion

from .nuscenes_taxonomy import ATTRIBUTES, CATEGORIES, SENSORS, VISIBILITY_LEVELS, visibility_token
from .scene import World

TABLES = ('attribute', 'calibrated_sensor', 'category', 'ego_pose', 'instance', 'log', 'map', 'sample',
          'sample_annotation', 'sample_data', 'scene', 'sensor', 'visibility')
Rows = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class FrameMeasurement:
    """What the sensors of one key frame saw of each instance (an instance that is absent from a dict counts 0)."""

    lidar_points: dict[int, int]
    visible_pixels: dict[int, int]  # summed over the cameras
    amodal_pixels: dict[int, int]


def make_token(*parts: object) -> str:
    """32 hexadecimal digits that depend on the parts alone."""
    return hashlib.md5('/'.join(str(part) for part in parts).encode(), usedforsecurity=False).hexdigest()


def log_file(world: World) -> str:
    """The log's name in nuScenes' pattern: vehicle, date and time."""
    vehicle = 'n008' if world.location.startswith('boston') else 'n015'
    time = datetime.fromtimestamp(world.frames[0].timestamp / 1e6, tz=timezone.utc)
    return f'{vehicle}-{time:%Y-%m-%d-%H-%M-%S}+0000'


def sensor_filename(world: World, channel: str, frame: int) -> str:
    """Path of one recording, relative to the data set's root."""
    suffix = 'pcd.bin' if SENSORS[channel] == 'lidar' else 'jpg'
    return f'samples/{channel}/{log_file(world)}__{channel}__{world.frames[frame].timestamp}.{suffix}'


def mask_filename(world: World, seed: int) -> str:
    """Path of the scene's map mask, relative to the data set's root."""
    return f'maps/{make_token("map", seed, world.name)}.png'


def _pose_fields(matrix: np.ndarray) -> dict[str, list[float]]:
    return dict(translation=matrix[:3, 3].tolist(), rotation=Quaternion(matrix=matrix[:3, :3]).elements.tolist())


def _link(rows: list[dict[str, Any]]) -> None:
    for before, after in zip(rows[:-1], rows[1:]):
        before['next'], after['prev'] = after['token'], before['token']


def fixed_rows() -> Rows:
    """The tables that are the same for every data set."""
    return dict(
        attribute=[dict(token=make_token('attribute', n), name=n, description=d) for n, d in ATTRIBUTES.items()],
        category=[dict(token=make_token('category', n), name=n, description=d) for n, d in CATEGORIES.items()],
        sensor=[dict(token=make_token('sensor', c), channel=c, modality=m) for c, m in SENSORS.items()],
        visibility=[dict(token=token, level=level,
                         description=f'visibility of whole object is between {low} and {high}%')
                    for token, level, low, high in VISIBILITY_LEVELS])


def scene_rows(world: World, measurements: list[FrameMeasurement], seed: int) -> Rows:
    """All rows that belong to one scene.

    Nobody can annotate what no sensor ever shows: objects that stay hidden through the whole scene have no rows.

    Args:
        world (World): The scene.
        measurements (list[FrameMeasurement]): One for each of its key frames.
        seed (int): Of the data set; part of every token.
    """

    def token(*parts: object) -> str:
        return make_token(*parts, seed, world.name)

    rows: Rows = {name: [] for name in TABLES}
    start = datetime.fromtimestamp(world.frames[0].timestamp / 1e6, tz=timezone.utc)
    samples = [dict(token=token('sample', i), timestamp=frame.timestamp, prev='', next='', scene_token=token('scene'))
               for i, frame in enumerate(world.frames)]
    _link(samples)
    rows['sample'] = samples
    rows['scene'] = [dict(token=token('scene'), log_token=token('log'), nbr_samples=len(samples),
                          first_sample_token=samples[0]['token'], last_sample_token=samples[-1]['token'],
                          name=world.name, description=world.description)]
    rows['log'] = [dict(token=token('log'), logfile=log_file(world), vehicle=log_file(world).split('-')[0],
                        date_captured=f'{start:%Y-%m-%d}', location=world.location)]
    rows['map'] = [dict(category='semantic_prior', token=make_token('map', seed, world.name),
                        filename=mask_filename(world, seed), log_tokens=[token('log')])]
    _add_sensors(rows, world, samples, token)
    _add_annotations(rows, world, samples, measurements, token)
    return rows


def _add_sensors(rows: Rows, world: World, samples: list[dict[str, Any]], token: Any) -> None:
    cameras = {camera.name: camera for camera in world.rig.cameras}
    for channel, modality in SENSORS.items():
        camera = cameras.get(channel)
        calibration = token('calibrated_sensor', channel)
        rows['calibrated_sensor'].append(dict(
            token=calibration, sensor_token=make_token('sensor', channel),
            **_pose_fields(camera.cam2ego if camera else world.rig.lidar2ego),
            camera_intrinsic=camera.cam2img.tolist() if camera else []))
        recordings = []
        for i, frame in enumerate(world.frames):
            recording = token('sample_data', channel, i)
            # As in nuScenes, every recording has an ego pose of its own, under the same token.
            rows['ego_pose'].append(dict(token=recording, timestamp=frame.timestamp, **_pose_fields(frame.ego2global)))
            recordings.append(dict(
                token=recording, sample_token=samples[i]['token'], ego_pose_token=recording,
                calibrated_sensor_token=calibration, timestamp=frame.timestamp,
                fileformat='jpg' if modality == 'camera' else 'pcd', is_key_frame=True,
                height=camera.height if camera else 0, width=camera.width if camera else 0,
                filename=sensor_filename(world, channel, i), prev='', next=''))
        _link(recordings)
        rows['sample_data'] += recordings


def _add_annotations(rows: Rows, world: World, samples: list[dict[str, Any]], measurements: list[FrameMeasurement],
                     token: Any) -> None:
    seen = {number for measured in measurements for counts in (measured.lidar_points, measured.visible_pixels)
            for number, count in counts.items() if count > 0}
    history: dict[int, list[dict[str, Any]]] = defaultdict(list)
    categories: dict[int, str] = {}
    for i, (frame, measured) in enumerate(zip(world.frames, measurements)):
        for state in frame.objects:
            number = state.instance
            if number not in seen:
                continue
            categories[number] = state.category
            annotation = dict(
                token=token('sample_annotation', number, i), sample_token=samples[i]['token'],
                instance_token=token('instance', number),
                visibility_token=visibility_token(measured.visible_pixels.get(number, 0),
                                                  measured.amodal_pixels.get(number, 0)),
                attribute_tokens=[make_token('attribute', state.attribute)] if state.attribute else [],
                translation=[float(v) for v in state.center], size=list(state.size),
                rotation=[float(np.cos(state.yaw / 2)), 0.0, 0.0, float(np.sin(state.yaw / 2))],
                prev='', next='', num_lidar_pts=int(measured.lidar_points.get(number, 0)), num_radar_pts=0)
            history[number].append(annotation)
            rows['sample_annotation'].append(annotation)
    for number, chain in history.items():
        _link(chain)
        rows['instance'].append(dict(
            token=token('instance', number), category_token=make_token('category', categories[number]),
            nbr_annotations=len(chain), first_annotation_token=chain[0]['token'],
            last_annotation_token=chain[-1]['token']))
