"""Encodings on a real nuScenes scene: rays and depth bins lead to the objects. (Here, for its info files.)"""
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet3d.registry import DATASETS
from mmengine.config import Config

from scene_qformer.geometry import linear_increasing_depths, project
from scene_qformer.models import DepthBinEncoding, RayEncoding
from scene_qformer.models.surround_memory import stack_cameras

CONFIG = Path(__file__).parents[2] / 'configs/_base_/datasets/nus-3d-scene_336.py'
ONE_CELL = [torch.zeros(1, 1, 4, 1, 1)]
CENTER_RANGE = 4.


@pytest.fixture(scope='module')
def seen_objects(real_nuscenes_root, real_infos):
    """(cameras of one image, centre of an object (3,) metres, its depth), for all objects in view of three frames.

    The single cell of a map is centred at half the image size; here that is the pixel of the object's centre.
    """
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv('NUSCENES_ROOT', str(real_nuscenes_root))
        environment.setenv('NUSCENES_INFO_ROOT', str(real_infos))
        dataset = DATASETS.build(Config.fromfile(CONFIG).val_dataloader.dataset)
    objects = []
    for index in (0, 17, 39):
        packed = dataset[index]
        sample = packed['data_samples']
        stacked = stack_cameras([sample.metainfo], packed['inputs']['img'][None])
        centers = sample.eval_ann_info['gt_bboxes_3d'].gravity_center.double().numpy()
        pixels, depth, valid = project(centers, sample.lidar2img, sample.img_shape)
        for n, p in zip(*np.nonzero(valid)):
            cameras = {name: stacked[name][:, n:n + 1] for name in ('lidar2img', 'lidar2cam', 'cam2img')}
            cameras['image_size'] = torch.from_numpy(2 * pixels[n, p])
            objects.append((cameras, torch.from_numpy(centers[p]), float(depth[n, p])))
    assert len(objects) > 50
    return objects


def test_rays_followed_to_an_objects_depth_arrive_at_its_centre(seen_objects):
    in_lidar, in_camera = RayEncoding(frame='lidar', center_range=CENTER_RANGE), RayEncoding(frame='camera')
    farthest = 0.
    for cameras, center, depth in seen_objects:
        direction, origin = in_lidar.rays(ONE_CELL, cameras)[0, 0, 0].split(3)
        along_axis = in_camera.rays(ONE_CELL, cameras)[0, 0, 0, 2]  # of a metre along the ray
        arrived = origin * CENTER_RANGE + direction * depth / along_axis
        torch.testing.assert_close(arrived.double(), center, atol=1e-3, rtol=0)
        farthest = max(farthest, depth)
    assert farthest > 40


def test_an_objects_centre_lies_between_two_points_of_its_depth_bins(seen_objects):
    encoding = DepthBinEncoding()
    edges = linear_increasing_depths(64, 1., 61.2)
    for cameras, center, depth in seen_objects:
        points = encoding.points(ONE_CELL, cameras)[0, 0, 0].double()
        i = min(int((edges <= depth).sum()) - 1, 62)  # the object lies between points i and i + 1, or behind the last
        share = (depth - edges[i]) / (edges[i + 1] - edges[i])
        torch.testing.assert_close(points[i] + share * (points[i + 1] - points[i]), center, atol=1e-3, rtol=0)
