"""Frames as a dataset describes them, on a real recording and on one made for the test."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes

from scene_qformer.visualization import read_frame
from scene_qformer.visualization.wireframe import box_edges_in_image


@pytest.fixture
def data_info(tmp_path: Path) -> dict:
    image = np.zeros((6, 10, 3), np.uint8)
    image[..., 0] = 250  # blue, as OpenCV orders channels
    cv2.imwrite(str(tmp_path / 'front.png'), image)
    np.arange(15, dtype=np.float32).tofile(tmp_path / 'points.bin')
    return dict(
        token='a_token',
        images=dict(CAM_FRONT=dict(
            img_path=str(tmp_path / 'front.png'),
            cam2img=[[100., 0, 50], [0, 110, 30], [0, 0, 1]],
            lidar2cam=[[1., 0, 0, 0.5], [0, 0, -1, 0.25], [0, 1, 0, -2], [0, 0, 0, 1]])),
        lidar_points=dict(lidar_path='points.bin', num_pts_feats=5),
        eval_ann_info=dict(gt_bboxes_3d=LiDARInstance3DBoxes(torch.ones(2, 9), box_dim=9),
                           gt_labels_3d=np.array([3, 1])))


def test_reads_what_the_dataset_describes(data_info: dict, tmp_path: Path):
    frame = read_frame(data_info, pts_prefix=str(tmp_path))
    assert frame.token == 'a_token'
    np.testing.assert_array_equal(frame.images['CAM_FRONT'][0, 0], [0, 0, 250])  # RGB
    # camera coordinates of (1, 7, 0.25): (1.5, 0, 5); pixel (100 * 1.5 / 5 + 50, 30)
    homogeneous = frame.lidar2img['CAM_FRONT'] @ [1, 7, 0.25, 1]
    np.testing.assert_allclose(homogeneous[:2] / homogeneous[2], [80, 30])
    assert homogeneous[2] == pytest.approx(5)
    np.testing.assert_array_equal(frame.points, np.arange(15).reshape(3, 5))
    assert frame.gt_instances_3d.labels_3d.tolist() == [3, 1]
    assert len(frame.gt_instances_3d.bboxes_3d) == 2


def test_without_points_and_annotations(data_info: dict):
    del data_info['eval_ann_info']
    frame = read_frame(data_info, pts_prefix='nowhere')
    assert frame.points is None and frame.gt_instances_3d is None


def test_missing_image(data_info: dict):
    data_info['images']['CAM_FRONT']['img_path'] += '.not_there'
    with pytest.raises(FileNotFoundError, match='not_there'):
        read_frame(data_info)


def test_a_camera_that_the_model_does_without(data_info: dict):
    data_info['images']['CAM_BACK'] = dict(fault='its file is gone')
    sample = Det3DDataSample(metainfo=dict(cam_names=('CAM_BACK', 'CAM_FRONT'), camera_mask=np.array([False, True])))
    frame = read_frame(data_info, data_sample=sample)
    whole = read_frame(dict(data_info, images=dict(CAM_FRONT=data_info['images']['CAM_FRONT'])))
    assert list(frame.images) == ['CAM_FRONT', 'CAM_BACK']  # as the dataset has them
    np.testing.assert_array_equal(frame.images['CAM_FRONT'], whole.images['CAM_FRONT'])
    np.testing.assert_array_equal(frame.lidar2img['CAM_FRONT'], whole.lidar2img['CAM_FRONT'])
    assert frame.images['CAM_BACK'].shape == (6, 10, 3) and frame.images['CAM_BACK'].max() < 200
    corners = frame.gt_instances_3d.bboxes_3d.corners.numpy()
    assert len(box_edges_in_image(corners, frame.lidar2img['CAM_BACK'], (10, 6))[0]) == 0


def test_a_camera_that_was_dropped(data_info: dict):
    """Its file is there, but the model does not see it; nor does who looks at the picture."""
    data_info['images']['CAM_BACK'] = dict(data_info['images']['CAM_FRONT'])
    sample = Det3DDataSample(metainfo=dict(cam_names=('CAM_BACK', 'CAM_FRONT'), camera_mask=np.array([False, True])))
    frame = read_frame(data_info, data_sample=sample)
    assert not np.array_equal(frame.images['CAM_BACK'], frame.images['CAM_FRONT'])
    assert np.array_equal(read_frame(data_info, data_sample=Det3DDataSample()).images['CAM_BACK'],
                          frame.images['CAM_FRONT'])
