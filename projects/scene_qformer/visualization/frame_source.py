"""What :func:`draw_frame` needs of a frame, read from the entry of an mmdet3d dataset."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mmcv
import numpy as np
import torch
from mmengine.structures import InstanceData

from ..geometry import compose_lidar2img


@dataclass(frozen=True)
class Frame:
    """A frame as it was recorded, before any resizing."""

    token: str
    images: dict[str, np.ndarray]  # camera name to (H, W, 3) uint8 RGB
    lidar2img: dict[str, np.ndarray]  # camera name to (4, 4) float64, LiDAR frame to pixels
    points: np.ndarray | None  # (P, 5) x, y, z (LiDAR frame, metres), intensity, ring; None without a file
    gt_instances_3d: InstanceData | None  # bboxes_3d, labels_3d; None if the dataset loads no annotations


def read_frame(data_info: dict, pts_prefix: str = '') -> Frame:
    """Read images and points of a frame.

    Args:
        data_info: ``dataset.get_data_info(index)`` of an mmdet3d dataset with cameras: ``images[name]`` with
            ``img_path``, ``cam2img``, ``lidar2cam``; ``ann_info`` or ``eval_ann_info``; ``lidar_points``.
        pts_prefix: folder of the LiDAR files, for datasets that do not use the LiDAR (``dataset.data_prefix['pts']``).

    Raises:
        FileNotFoundError: an image is missing.
    """
    images, lidar2img = {}, {}
    for name, camera in data_info['images'].items():
        images[name] = mmcv.imread(camera['img_path'], channel_order='rgb')
        lidar2img[name] = compose_lidar2img(np.array(camera['cam2img'], dtype=np.float64),
                                            np.array(camera['lidar2cam'], dtype=np.float64))
    annotations = data_info.get('eval_ann_info') or data_info.get('ann_info')
    truth = None
    if annotations is not None:
        truth = InstanceData(bboxes_3d=annotations['gt_bboxes_3d'],
                             labels_3d=torch.as_tensor(annotations['gt_labels_3d']))
    return Frame(str(data_info.get('token', data_info.get('sample_idx', ''))), images, lidar2img,
                 _read_points(data_info, pts_prefix), truth)


def _read_points(data_info: dict, pts_prefix: str) -> np.ndarray | None:
    """The LiDAR sweep, for looks only: a data set without its files is drawn without points."""
    path = data_info.get('lidar_points', {}).get('lidar_path')
    if not path:
        return None
    file = next((file for file in (Path(path), Path(pts_prefix) / path) if file.is_file()), None)
    if file is None:
        return None
    return np.fromfile(file, dtype=np.float32).reshape(-1, data_info['lidar_points'].get('num_pts_feats', 5))
