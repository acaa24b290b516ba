import numpy as np
import pytest
import torch
from mmengine.config import Config

from scene_qformer.random_batch import camera_ring, random_batch, random_batch_like


def test_cameras_look_around():
    cameras = camera_ring(4, (60, 40))
    assert {name: matrices.shape for name, matrices in cameras.items()} == {
        'lidar2img': (4, 4, 4), 'lidar2cam': (4, 4, 4), 'cam2img': (4, 4, 4)}
    ahead_left_back = np.array([[10., 0, -0.3, 1], [0., 10, -0.3, 1], [-10., 0, -0.3, 1]])  # x ahead, y left
    for camera, point in enumerate(ahead_left_back):
        x, y, depth, _ = cameras['lidar2img'][camera] @ point
        assert (x / depth, y / depth, depth) == pytest.approx((30, 20, 10))  # the middle of the image
    # a point to the left of the axis is on the left of the image: at half the field of view, at its edge
    x, _, depth, _ = cameras['lidar2img'][0] @ np.array([10, 10 * np.tan(np.radians(35)), -0.3, 1])
    assert x / depth == pytest.approx(0)
    above = cameras['lidar2img'][0] @ np.array([10, 0, 2, 1])
    assert above[1] / above[2] < 20


def test_what_a_data_loader_gives():
    batch = random_batch(3, (32, 16), batch_size=2, num_classes=4, num_objects=11)
    assert [image.shape for image in batch['inputs']['img']] == [(3, 3, 16, 32)] * 2
    assert batch['inputs']['img'][0].dtype == torch.uint8
    first, second = batch['data_samples']
    assert first.lidar2img.shape == (3, 4, 4)
    assert first.gt_instances_3d.bboxes_3d.tensor.shape == (11, 9)
    assert set(first.gt_instances_3d.labels_3d.tolist()) <= {0, 1, 2, 3}
    assert first.gt_instances_3d.bboxes_3d.gravity_center.abs().max() <= 55
    assert not torch.equal(first.gt_instances_3d.bboxes_3d.tensor, second.gt_instances_3d.bboxes_3d.tensor)


def dataset_config(*steps):
    return Config(dict(test_dataloader=dict(dataset=dict(
        pipeline=list(steps), cam_names=['A', 'B'], metainfo=dict(classes=['car', 'bus'])))))


def test_size_is_that_of_the_last_transform():
    cfg = dataset_config(dict(type='Load', size=(320, 180)), dict(type='Crop', size=(320, 128)), dict(type='Pack'))
    assert random_batch_like(cfg)['inputs']['img'][0].shape == (2, 3, 128, 320)
    assert random_batch_like(cfg, image_size=(48, 32))['inputs']['img'][0].shape == (2, 3, 32, 48)


def test_no_size():
    with pytest.raises(ValueError, match='has a `size`: give the image size'):
        random_batch_like(dataset_config(dict(type='Pack')))
