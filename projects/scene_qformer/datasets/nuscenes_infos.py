"""From nuScenes' tables to mmdet3d's info files (format version 1.1), wherever the nuScenes root lies.

The result equals, field by field, what mmdet3d 1.4's own converter writes (``nuscenes_converter.py`` and then
``update_infos_to_v2.py``), which only works from ``./data/nuscenes``. One frame::

    sample_idx int, token str, timestamp seconds
    ego2global      (4, 4) nested list, float32 values; the ego pose at the LiDAR's time
    lidar_points    dict(num_pts_feats=5, lidar_path=file name, lidar2ego (4, 4))
    images          CAM_* -> dict(img_path=file name, cam2img (3, 3), cam2ego (4, 4), lidar2cam (4, 4), timestamp,
                    sample_data_token); lidar2cam goes through both ego poses, at the LiDAR's and the camera's time
    lidar_sweeps    list of dict(timestamp, sample_data_token, ego2global, lidar_points=dict(..., lidar2sensor)),
                    newest first; left out if empty
    instances       list of dict(bbox_3d [x, y, z, length, width, height, yaw] with the gravity centre in the LiDAR
                    frame, velocity [vx, vy] in the LiDAR frame (NaN where unknown), bbox_label = bbox_label_3d (-1:
                    none of the ten classes), num_lidar_pts, num_radar_pts, bbox_3d_isvalid)
    cam_instances   CAM_* -> list of 2D and monocular 3D annotations, from mmdet3d's get_nuscenes_2d_boxes
"""
from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import mmengine
import numpy as np
from mmdet3d.datasets import NuScenesDataset
from mmdet3d.datasets.convert_utils import NuScenesNameMapping, get_nuscenes_2d_boxes
from mmdet3d.datasets.utils import convert_quaternion_to_matrix
from nuscenes.nuscenes import NuScenes
from nuscenes.utils import splits
from nuscenes.utils.geometry_utils import transform_matrix
from pyquaternion import Quaternion
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from ..durable_file import OF_A_TOOL, write_durably
from ..inside_folder import check_inside
from .nuscenes_scene_dataset import NUSCENES_CAMERAS
from .nuscenes_tables import (
    TABLES,
    check_maps,
    check_tables,
    check_velocity_tokens,
    follow,
    read_tables,
    require_tables,
)
from .output_files import check_outputs

CLASSES = NuScenesDataset.METAINFO['classes']
# Names of the files to write, and of the official splits whose scenes go into them.
SPLITS = {
    'v1.0-mini': dict(train=splits.mini_train, val=splits.mini_val),
    'v1.0-trainval': dict(train=splits.train, val=splits.val),
    'v1.0-test': dict(test=splits.test),
}
# mmdet3d's converter writes the sweeps' paths below the root that it was given, by its documentation this one. Readers
# use only the file's name and whether 'samples' occurs in the path, so files made from any root are the same.
DOCUMENTED_ROOT = './data/nuscenes'

_forked: tuple[NuScenes, dict] | None = None  # what worker processes inherit instead of unpickling it


def open_nuscenes(root: str | Path, version: str) -> NuScenes:
    """Open a nuScenes root with the devkit, after checking that all is there.

    Raises:
        FileNotFoundError: If the root, the version's folder, a table or a map is missing; says what there is.
        ValueError: If the version is not one of the official ones, a table is damaged (see
            :mod:`scene_qformer.datasets.nuscenes_tables`), or the devkit does not open it, for another reason.
    """
    root = Path(root)
    if version not in SPLITS:
        raise ValueError(f"Unknown version '{version}'; expected one of {', '.join(SPLITS)}.")
    if not root.is_dir():
        raise FileNotFoundError(f'The nuScenes root {root} does not exist. Expected the folder that holds samples/, '
                                f'maps/ and {version}/; a synthetic one is written by\n  python '
                                f'tools/create_synthetic_nuscenes.py --out {root}')
    folder = root / version
    if not folder.is_dir():
        there = sorted(path.name for path in root.iterdir() if (path / 'sample.json').is_file())
        raise FileNotFoundError(f'{root} has no folder {version}. Versions there: {", ".join(there) or "none"}. Unpack '
                                'the metadata archive there or give another --version.')
    require_tables(folder)
    check_maps(folder, root)
    nusc = None
    try:
        nusc = NuScenes(version=version, dataroot=str(root), verbose=False)
    except Exception as error:  # on bad tables the devkit raises nearly anything
        if isinstance(error, (OSError, MemoryError)) and not isinstance(error, FileNotFoundError):
            raise
        failure = f'{type(error).__name__}: {error}'  # the error itself would keep all tables in memory
    if nusc is None:
        read_tables(folder)  # says what is wrong, if it is in what is read here
        raise ValueError(f'The nuScenes devkit cannot open {folder} ({failure}). Unpack the archives of this version '
                         'again; those of nuScenes-lidarseg or -panoptic whole, with their folders, or not at all.')
    check_tables({table: getattr(nusc, table) for table in TABLES}, folder)
    return nusc


def create_info_files(
    root: str | Path,
    version: str,
    out: str | Path | None = None,
    overwrite: bool = False,
    max_sweeps: int = 10,
    workers: int = 1,
) -> list[Path]:
    """Write ``nuscenes_infos_{train,val}.pkl`` (``_test`` for v1.0-test) of a nuScenes root.

    Args:
        root: The nuScenes root, anywhere.
        version: 'v1.0-mini', 'v1.0-trainval' or 'v1.0-test'.
        out: Where to write. Defaults to the root.
        overwrite: Replace existing files.
        max_sweeps: The most LiDAR sweeps to list before a key frame.
        workers: Processes (on systems that can fork; else one).

    Returns:
        The files.

    Raises:
        FileExistsError: If a file exists and ``overwrite`` is False. Nothing was written then.
        NotADirectoryError: If ``out`` is a file.
        FileNotFoundError: If something of the root is missing.
        ValueError: If the version is unknown, a table is damaged, a sample lacks a sensor, or a number is out of range.
        NotWrittenError: If the disk does not take a file; what was there is intact.
    """
    if max_sweeps < 0 or workers < 1:
        raise ValueError(f'Expected --max-sweeps of 0 or more and --workers of 1 or more, got {max_sweeps} and '
                         f'{workers}.')
    out = Path(root if out is None else out)
    targets = {split: out / f'nuscenes_infos_{split}.pkl' for split in SPLITS.get(version, ())}
    check_outputs(targets.values(), overwrite)
    print(f'Reading the tables of {root}', flush=True)
    nusc = open_nuscenes(root, version)
    out.mkdir(parents=True, exist_ok=True)
    samples = split_samples(nusc, version)
    annotated = version != 'v1.0-test'
    _check_samples(nusc, [sample for group in samples.values() for sample in group], annotated, max_sweeps)

    for split, path in targets.items():
        frames = _convert(nusc, samples[split], dict(annotated=annotated, max_sweeps=max_sweeps), workers)
        data_list = []
        for index, (info, others) in enumerate(
                tqdm(frames, f'{version} {split}', total=len(samples[split]), unit='frame')):
            data_list.append(dict(sample_idx=index, **info))
            # mmdet3d's converter lists the other categories of the last frame only; equal files need the same
            ignored = others
        categories = {name: label for label, name in enumerate(CLASSES)}
        categories.update(dict.fromkeys(ignored if data_list else (), -1))
        metainfo = dict(categories=categories, dataset='nuscenes', version=version, info_version='1.1')
        content = mmengine.dump(dict(metainfo=metainfo, data_list=data_list), file_format='pkl')
        write_durably(path, content, OF_A_TOOL)
        print(f'{path}: {len(data_list)} frames' + ('' if data_list else f' (no scene of the {split} split here)'))
    return list(targets.values())


def split_samples(nusc: NuScenes, version: str) -> dict[str, list[dict]]:
    """The samples of each official split, in the order of the sample table.

    As in mmdet3d, a scene outside the official splits counts as val (with version v1.0-test it is left out); that is
    said, as the official metric refuses such scenes.
    """
    names = {scene['token']: scene['name'] for scene in nusc.scene}
    strangers = sorted(set(names.values()).difference(*SPLITS[version].values()))
    if strangers:
        shown = ', '.join(strangers[:5]) + (' ...' if len(strangers) > 5 else '')
        fate = 'left out' if version == 'v1.0-test' else 'put into val'
        print(f'Warning: {len(strangers)} scenes are in no official split of {version} and are {fate}: {shown}')
    groups: dict[str, list[dict]] = {split: [] for split in SPLITS[version]}
    for sample in nusc.sample:
        name = names[sample['scene_token']]
        split = next((split for split, scenes in SPLITS[version].items() if name in scenes), 'val')
        if split in groups:
            groups[split].append(sample)
    return groups


def sample_info(nusc: NuScenes, sample: dict, annotated: bool, max_sweeps: int) -> tuple[dict, list[str]]:
    """One frame's info, less its ``sample_idx``, and the names of its categories that are none of the ten classes.

    Cameras that the sample lacks are left out.

    Raises:
        ValueError: If it lacks the LiDAR, or a sweep is not there.
    """
    _require_sensors(nusc, sample, ('LIDAR_TOP', ), 'the LiDAR, at whose time and in whose frame an info is')
    lidar = nusc.get('sample_data', sample['data']['LIDAR_TOP'])
    lidar2global = _sensor2global(nusc, lidar)
    images = {name: _image_info(nusc, sample['data'][name], lidar2global) for name in NUSCENES_CAMERAS
              if name in sample['data']}
    info: dict[str, Any] = dict(
        token=sample['token'],
        timestamp=sample['timestamp'] / 1e6,
        ego2global=_pose(nusc.get('ego_pose', lidar['ego_pose_token'])),
        images=images,
        lidar_points=dict(
            num_pts_feats=5,
            lidar_path=Path(lidar['filename']).name,
            lidar2ego=_pose(nusc.get('calibrated_sensor', lidar['calibrated_sensor_token']))))
    sweeps = _sweep_infos(nusc, lidar, lidar2global, max_sweeps)
    if sweeps:
        info['lidar_sweeps'] = sweeps
    info['instances'] = []
    others: list[str] = []
    if annotated:
        info['instances'], others = _instances(nusc, sample, lidar2global[:3, :3])
        info['cam_instances'] = {
            name: get_nuscenes_2d_boxes(nusc, image['sample_data_token'], visibilities=[None, '', '1', '2', '3', '4'])
            for name, image in images.items()
        }
        if 'lidarseg' in nusc.table_names:
            info['pts_semantic_mask_path'] = Path(nusc.get('lidarseg', lidar['token'])['filename']).name
    return info, others


def _instances(nusc: NuScenes, sample: dict, lidar2global: np.ndarray) -> tuple[list[dict], list[str]]:
    _, boxes, _ = nusc.get_sample_data(sample['data']['LIDAR_TOP'])  # in the LiDAR frame, in the order of the tokens
    instances, others = [], []
    for box, token in zip(boxes, sample['anns']):
        annotation = nusc.get('sample_annotation', token)
        name = NuScenesNameMapping.get(box.name, box.name)
        if name in CLASSES:
            label = CLASSES.index(name)
        else:
            label = -1
            others.append(name)
        # vertical motion is left out, as in mmdet3d: its velocity is that of the ground plane
        velocity = lidar2global.T @ np.array([*nusc.box_velocity(token)[:2], 0.0])
        width, length, height = box.wlh.tolist()
        instances.append(
            dict(
                bbox_label=label,
                bbox_3d=[*box.center.tolist(), length, width, height, box.orientation.yaw_pitch_roll[0]],
                bbox_3d_isvalid=annotation['num_lidar_pts'] + annotation['num_radar_pts'] > 0,
                bbox_label_3d=label,
                num_lidar_pts=annotation['num_lidar_pts'],
                num_radar_pts=annotation['num_radar_pts'],
                velocity=velocity[:2].tolist()))
    return instances, sorted(set(others))


def _image_info(nusc: NuScenes, token: str, lidar2global: np.ndarray) -> dict:
    record = nusc.get('sample_data', token)
    calibration = nusc.get('calibrated_sensor', record['calibrated_sensor_token'])
    return dict(
        img_path=Path(record['filename']).name,
        cam2img=calibration['camera_intrinsic'],
        cam2ego=_pose(calibration),
        sample_data_token=token,
        timestamp=record['timestamp'] / 1e6,
        lidar2cam=_lidar2sensor(nusc, record, lidar2global))


def _sweep_infos(nusc: NuScenes, lidar: dict, lidar2global: np.ndarray, max_sweeps: int) -> list[dict]:
    return [
        dict(
            timestamp=record['timestamp'] / 1e6,
            ego2global=_pose(nusc.get('ego_pose', record['ego_pose_token'])),
            lidar_points=dict(
                num_pts_feats=None,  # mmdet3d's converter leaves it open
                lidar_path=f'{DOCUMENTED_ROOT}/{record["filename"]}',
                lidar2ego=_pose(nusc.get('calibrated_sensor', record['calibrated_sensor_token'])),
                lidar2sensor=_lidar2sensor(nusc, record, lidar2global)),
            sample_data_token=record['token'])
        for record in _sweeps(nusc, lidar, max_sweeps)]


def _sweeps(nusc: NuScenes, lidar: dict, max_sweeps: int) -> Iterator[dict]:
    """The records of the sweeps before a key frame, newest first.

    Raises:
        ValueError: If one is not there.
    """
    path = Path(nusc.dataroot, nusc.version, 'sample_data.json')
    for _ in range(max_sweeps):
        before = follow(lidar, 'prev', partial(nusc.get, 'sample_data'), path, 'sample_data',
                        ' Or give --max-sweeps 0, which does without the sweeps before key frames.')
        if before is None:
            return
        lidar = before
        yield lidar


def _pose(record: dict) -> list[list[float]]:
    return convert_quaternion_to_matrix(record['rotation'], record['translation'])


def _sensor2global(nusc: NuScenes, record: dict, inverse: bool = False) -> np.ndarray:
    """(4, 4) float64: the sensor of a sample_data record to the global frame at the record's time."""
    ego = nusc.get('ego_pose', record['ego_pose_token'])
    sensor = nusc.get('calibrated_sensor', record['calibrated_sensor_token'])
    ego2global = transform_matrix(ego['translation'], Quaternion(ego['rotation']), inverse)
    sensor2ego = transform_matrix(sensor['translation'], Quaternion(sensor['rotation']), inverse)
    return sensor2ego @ ego2global if inverse else ego2global @ sensor2ego


def _lidar2sensor(nusc: NuScenes, record: dict, lidar2global: np.ndarray) -> list[list[float]]:
    return (_sensor2global(nusc, record, inverse=True) @ lidar2global).astype(np.float32).tolist()


def _require_sensors(nusc: NuScenes, sample: dict, names: Sequence[str], needed: str) -> None:
    lacking = [name for name in names if name not in sample['data']]
    if lacking:
        raise ValueError(f'Sample {sample["token"]} of {nusc.dataroot} has no {", ".join(lacking)} in the table '
                         f'sample_data; it has {", ".join(sample["data"]) or "nothing"}. Every key frame needs '
                         f'{needed}. Unpack the metadata archive again. To do without the sample, remove its records '
                         'from sample.json, sample_data.json and sample_annotation.json, and let prev and next of '
                         'those before and after lead past them.')


def _check_samples(nusc: NuScenes, samples: list[dict], annotated: bool, max_sweeps: int) -> None:
    """Look for all that is read of the samples, before the work begins."""
    _check_files(nusc, samples)
    for sample in samples:
        deque(_sweeps(nusc, nusc.get('sample_data', sample['data']['LIDAR_TOP']), max_sweeps), maxlen=0)
    if annotated:
        check_velocity_tokens(nusc.sample_annotation, Path(nusc.dataroot, nusc.version))


def _check_files(nusc: NuScenes, samples: list[dict]) -> None:
    """Every key frame must have its cameras' files; LiDAR files are only listed, so lacking ones are just reported."""
    lacking_lidar = 0
    for sample in samples:
        _require_sensors(nusc, sample, (*NUSCENES_CAMERAS, 'LIDAR_TOP'), 'the six cameras and the LiDAR')
        for name in (*NUSCENES_CAMERAS, 'LIDAR_TOP'):
            check_inside(nusc.get('sample_data', sample['data'][name])['filename'], nusc.dataroot,
                         f'Table sample_data of {nusc.dataroot}, {name} of sample {sample["token"]}')
        for name in NUSCENES_CAMERAS:
            path = Path(nusc.get_sample_data_path(sample['data'][name]))
            if not path.is_file():
                raise FileNotFoundError(f'There is no image file {path} (camera {name} of sample {sample["token"]}). '
                                        'Unpack all image archives of this version.')
        lacking_lidar += not Path(nusc.get_sample_data_path(sample['data']['LIDAR_TOP'])).is_file()
    if lacking_lidar:
        print(f'Warning: {lacking_lidar} of {len(samples)} key frames have no LiDAR file. The info files list them all '
              'the same; camera models do not read them.')


def _convert(nusc: NuScenes, samples: list[dict], options: dict, workers: int) -> Iterator[tuple[dict, list[str]]]:
    """The infos of the samples. BLAS gets one thread: for 3x3 matrices, more only wait for each other."""
    if workers > 1 and len(samples) > workers and 'fork' in multiprocessing.get_all_start_methods():
        global _forked
        _forked = nusc, options
        try:
            with multiprocessing.get_context('fork').Pool(workers, threadpool_limits, (1, )) as pool:
                yield from pool.imap(_convert_forked, samples, chunksize=8)
        finally:
            _forked = None
    else:
        with threadpool_limits(1):
            for sample in samples:
                yield sample_info(nusc, sample, **options)


def _convert_forked(sample: dict) -> tuple[dict, list[str]]:
    assert _forked is not None, 'runs in workers of _convert only'
    nusc, options = _forked
    return sample_info(nusc, sample, **options)
