"""What :func:`draw_frame` needs of a frame, read from the entry of an mmdet3d dataset."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mmcv
import numpy as np
import torch
from mmdet3d.structures import Det3DDataSample
from mmengine.structures import InstanceData

from ..geometry import compose_lidar2img
from .text import draw_text, text_size

_MISSING = 'missing: the model does without'
_DARK, _LETTERS = (34, 38, 48), (150, 160, 178)  # RGB


@dataclass(frozen=True)
class Frame:
    """A frame as it was recorded, before any resizing."""

    token: str
    images: dict[str, np.ndarray]  # camera name to (H, W, 3) uint8 RGB
    lidar2img: dict[str, np.ndarray]  # camera name to (4, 4) float64, LiDAR frame to pixels
    points: np.ndarray | None  # (P, 5) x, y, z (LiDAR frame, metres), intensity, ring; None without a file
    gt_instances_3d: InstanceData | None  # bboxes_3d, labels_3d; None if the dataset loads no annotations


def read_frame(data_info: dict, pts_prefix: str = '', data_sample: Det3DDataSample | None = None) -> Frame:
    """Read images and points of a frame.

    Args:
        data_info: ``dataset.get_data_info(index)`` of an mmdet3d dataset with cameras: ``images[name]`` with
            ``img_path``, ``cam2img``, ``lidar2cam``; ``ann_info`` or ``eval_ann_info``; ``lidar_points``.
        pts_prefix: folder of the LiDAR files, for datasets that do not use the LiDAR (``dataset.data_prefix['pts']``).
        data_sample: what the model reads of the frame. Cameras that it does without (``camera_mask``) are dark, say so,
            and have a matrix that shows nothing.

    Raises:
        FileNotFoundError: an image is missing.
    """
    images, lidar2img = {}, {}
    missing = _missing_cameras(data_sample)
    for name, camera in data_info['images'].items():
        if name in missing:
            continue
        images[name] = mmcv.imread(camera['img_path'], channel_order='rgb')
        lidar2img[name] = compose_lidar2img(np.array(camera['cam2img'], dtype=np.float64),
                                            np.array(camera['lidar2cam'], dtype=np.float64))
    if missing:
        shape = next(iter(images.values())).shape
        images = {name: images[name] if name in images else _nothing_to_see(shape) for name in data_info['images']}
        lidar2img.update({name: np.zeros((4, 4)) for name in missing})
    annotations = data_info.get('eval_ann_info') or data_info.get('ann_info')
    truth = None
    if annotations is not None:
        truth = InstanceData(bboxes_3d=annotations['gt_bboxes_3d'],
                             labels_3d=torch.as_tensor(annotations['gt_labels_3d']))
    return Frame(str(data_info.get('token', data_info.get('sample_idx', ''))), images, lidar2img,
                 _read_points(data_info, pts_prefix), truth)


def _missing_cameras(data_sample: Det3DDataSample | None) -> set[str]:
    """Names of the cameras that a data sample marks as missing."""
    if data_sample is None or 'camera_mask' not in data_sample:
        return set()
    return {name for name, there in zip(data_sample.cam_names, data_sample.camera_mask, strict=True) if not there}


def _nothing_to_see(shape: tuple[int, ...]) -> np.ndarray:
    """A dark picture (H, W, 3) uint8 that says why."""
    picture = np.full(shape, _DARK, np.uint8)
    size = max(12, shape[1] // 20)
    width, height = text_size(_MISSING, size)
    draw_text(picture, _MISSING, ((shape[1] - width) // 2, (shape[0] - height) // 2), size, color=_LETTERS)
    return picture


def _read_points(data_info: dict, pts_prefix: str) -> np.ndarray | None:
    """The LiDAR sweep, for looks only: a data set without its files is drawn without points."""
    path = data_info.get('lidar_points', {}).get('lidar_path')
    if not path:
        return None
    file = next((file for file in (Path(path), Path(pts_prefix) / path) if file.is_file()), None)
    if file is None:
        return None
    return np.fromfile(file, dtype=np.float32).reshape(-1, data_info['lidar_points'].get('num_pts_feats', 5))
