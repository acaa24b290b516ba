"""A nuScenes root of a few small frames, written table by table, for tests that need no pictures worth looking at."""
from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from pyquaternion import Quaternion

WIDTH, HEIGHT = 37 * 8, 23 * 8  # pixels
CAMERA_YAWS = dict(
    CAM_FRONT=0, CAM_FRONT_RIGHT=-55, CAM_FRONT_LEFT=55, CAM_BACK=180, CAM_BACK_LEFT=110, CAM_BACK_RIGHT=-110)
# category, attribute, size (width, length, height), start in the global frame, velocity, lidar and radar points
OBJECTS = (
    ('vehicle.car', 'vehicle.moving', (1.9, 4.7, 1.7), (13.0, 3.0, 0.9), (5.0, 1.0), (17, 2)),
    ('vehicle.truck', 'vehicle.parked', (2.5, 7.9, 3.1), (-17.0, -5.0, 1.6), (0.0, 0.0), (0, 5)),
    ('human.pedestrian.adult', 'pedestrian.standing', (0.7, 0.7, 1.8), (3.0, 11.0, 0.9), (0.0, 0.0), (3, 0)),
    ('movable_object.trafficcone', '', (0.4, 0.4, 1.1), (7.0, -7.0, 0.5), (0.0, 0.0), (0, 0)),
    ('animal', '', (0.3, 0.7, 0.5), (5.0, 5.0, 0.3), (0.5, 0.0), (2, 0)),
)


def write_small_nuscenes(root: Path, version: str, scenes: tuple[str, ...], samples_per_scene: int = 3) -> Path:
    """Write a root that ``NuScenes(version, root)`` opens: six cameras, a LiDAR with two sweeps a key frame, no radar.

    The sensors of a frame fire some milliseconds apart while the car drives on a curve, and the ego pose is tilted, so
    that a mistake in any of the transforms shows.
    """
    rng = np.random.default_rng(len(scenes) * 7 + samples_per_scene)
    tables: dict[str, list[dict]] = {name: [] for name in (
        'category', 'attribute', 'visibility', 'instance', 'sensor', 'calibrated_sensor', 'ego_pose', 'log', 'scene',
        'sample', 'sample_data', 'sample_annotation', 'map')}

    def add(table: str, token: str, **record) -> str:
        tables[table].append(dict(token=token, **record))
        return token

    for category in dict.fromkeys(o[0] for o in OBJECTS):
        add('category', f'category-{category}', name=category, description='')
    for attribute in dict.fromkeys(o[1] for o in OBJECTS if o[1]):
        add('attribute', f'attribute-{attribute}', name=attribute, description='')
    add('visibility', '4', level='v80-100', description='')
    add('log', 'log', logfile='log', vehicle='v', date_captured='2018-08-30', location='boston-seaport')
    add('map', 'map', category='semantic_prior', filename='maps/map.png', log_tokens=['log'])
    (root / 'maps').mkdir(parents=True)
    cv2.imwrite(str(root / 'maps/map.png'), np.zeros((5, 7), np.uint8))
    for channel, yaw in dict(CAMERA_YAWS, LIDAR_TOP=-90).items():
        is_camera = channel != 'LIDAR_TOP'
        add('sensor', f'sensor-{channel}', channel=channel, modality='camera' if is_camera else 'lidar')
        turn = Quaternion(axis=(0, 0, 1), degrees=yaw + rng.normal())
        if is_camera:  # x right, y down, z forward, seen from x forward, y left, z up
            turn = turn * Quaternion(matrix=np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]))
        intrinsic = [[173.0 + yaw / 100, 0, WIDTH / 2 + 3], [0, 173.0 + yaw / 100, HEIGHT / 2 - 5], [0, 0, 1]]
        add('calibrated_sensor', f'calibrated-{channel}', sensor_token=f'sensor-{channel}',
            translation=(rng.normal(size=3) + (0, 0, 1.6)).tolist(), rotation=turn.elements.tolist(),
            camera_intrinsic=intrinsic if is_camera else [])
        (root / f'samples/{channel}').mkdir(parents=True)
    (root / 'sweeps/LIDAR_TOP').mkdir(parents=True)

    for number, scene in enumerate(scenes):
        start = 1_500_000_000_000_000 + number * 60_000_000
        tokens = [f'{scene}-sample-{i}' for i in range(samples_per_scene)]
        add('scene', scene, name=scene, description='', log_token='log', nbr_samples=samples_per_scene,
            first_sample_token=tokens[0], last_sample_token=tokens[-1])
        last_lidar = ''
        for i, token in enumerate(tokens):
            time = start + i * 500_000
            add('sample', token, timestamp=time, scene_token=scene, prev=tokens[i - 1] if i else '',
                next=tokens[i + 1] if i + 1 < samples_per_scene else '')
            lidar_times = [(time - 100_000, False), (time - 50_000, False), (time, True)]
            readings = [(channel, time - 40_000 + 7_000 * k, True) for k, channel in enumerate(CAMERA_YAWS)]
            for channel, when, is_key in readings + [('LIDAR_TOP', *reading) for reading in lidar_times]:
                is_camera = channel != 'LIDAR_TOP'
                seconds = (when - start) / 1e6
                heading = Quaternion(axis=(0, 0, 1), radians=0.3 + 0.2 * seconds)
                tilt = Quaternion(axis=(0, 1, 0), radians=0.01 + 0.003 * seconds)
                reading = f'{token}-{channel}-{when}'
                add('ego_pose', reading, timestamp=when, rotation=(heading * tilt).elements.tolist(),
                    translation=[411 + 7 * seconds, 1180 + 3 * seconds, 0.0])
                folder = 'samples' if is_key else 'sweeps'
                filename = f'{folder}/{channel}/{scene}__{channel}__{when}.{"jpg" if is_camera else "pcd.bin"}'
                add('sample_data', reading, sample_token=token, ego_pose_token=reading,
                    calibrated_sensor_token=f'calibrated-{channel}', timestamp=when, filename=filename,
                    fileformat='jpg' if is_camera else 'pcd', is_key_frame=is_key, prev='', next='',
                    height=HEIGHT if is_camera else 0, width=WIDTH if is_camera else 0)
                if is_camera:
                    coarse = rng.integers(0, 255, (23, 37, 3), dtype=np.uint8)
                    image = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
                    cv2.imwrite(str(root / filename), image)
                else:
                    rng.normal(size=(11, 5)).astype(np.float32).tofile(root / filename)
                    if last_lidar:
                        tables['sample_data'][-1]['prev'] = last_lidar
                    last_lidar = reading
            for k, (_, attribute, size, position, velocity, points) in enumerate(OBJECTS):
                shift = np.array([*velocity, 0.0]) * (time - start) / 1e6
                add('sample_annotation', f'{token}-{k}', sample_token=token, instance_token=f'{scene}-{k}',
                    visibility_token='4', attribute_tokens=[f'attribute-{attribute}'] if attribute else [],
                    translation=(np.array(position) + (411, 1180, 0) + shift).tolist(), size=list(size),
                    rotation=Quaternion(axis=(0, 0, 1), radians=0.7 * k - 1).elements.tolist(),
                    prev=f'{tokens[i - 1]}-{k}' if i else '',
                    next=f'{tokens[i + 1]}-{k}' if i + 1 < samples_per_scene else '',
                    num_lidar_pts=points[0], num_radar_pts=points[1])
        for k, (category, *_) in enumerate(OBJECTS):
            add('instance', f'{scene}-{k}', category_token=f'category-{category}', nbr_annotations=samples_per_scene,
                first_annotation_token=f'{tokens[0]}-{k}', last_annotation_token=f'{tokens[-1]}-{k}')

    (root / version).mkdir()
    for name, records in tables.items():
        (root / version / f'{name}.json').write_text(json.dumps(records))
    return root
