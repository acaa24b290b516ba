"""Moving the scene: every box corner must stay on its pixel."""
import numpy as np
import pytest
import torch
from mmdet3d.registry import DATASETS, TRANSFORMS
from mmdet3d.structures import LiDARInstance3DBoxes

from scene_qformer.geometry import compose_lidar2img, project

LOAD = [dict(type='LoadSurroundImages'), dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True)]


@pytest.fixture
def results(small_root):
    """A loaded frame with three boxes, before any augmentation."""
    dataset = DATASETS.build(
        dict(
            type='NuScenesSceneDataset',
            data_root=str(small_root),
            ann_file='nuscenes_infos_train.pkl',
            pipeline=LOAD))
    return dataset[1]


def corners_and_pixels(results):
    """Corners (G * 8, 3), pixels (N, G * 8, 2), depth, and which lie inside the images."""
    corners = results['gt_bboxes_3d'].corners.reshape(-1, 3).double().numpy()
    lidar2img = compose_lidar2img(results['cam2img'], results['lidar2cam'])
    return corners, *project(corners, lidar2img, results['img_shape'])


def assert_rigid(lidar2cam):
    rotation = lidar2cam[:, :3, :3]
    np.testing.assert_allclose(rotation @ rotation.swapaxes(1, 2) - np.eye(3), 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=1e-6)


def test_mirror(results):
    images, width = [image.copy() for image in results['img']], results['img_shape'][1]
    paths, velocity = list(results['img_path']), results['gt_bboxes_3d'].tensor[:, 7:].clone()
    corners, pixels, depth, valid = corners_and_pixels(results)
    assert valid.sum() > 10  # the frame does show boxes

    results = TRANSFORMS.build(dict(type='RandomMirrorScene', prob=1.0))(results)
    order = [0, 2, 1, 3, 5, 4]  # left and right trade places
    mirrored, new_pixels, new_depth, new_valid = corners_and_pixels(results)

    # the boxes are the mirror image, though a mirrored box numbers its corners in another order
    expected = corners * (-1, 1, 1)
    for box, new_box in zip(expected.reshape(-1, 8, 3), mirrored.reshape(-1, 8, 3)):
        distance = np.linalg.norm(box[:, None] - new_box[None], axis=-1)
        assert distance.min(1).max() < 1e-4 and sorted(distance.argmin(1)) == list(range(8))
    torch.testing.assert_close(results['gt_bboxes_3d'].tensor[:, 7:], velocity * torch.tensor([-1.0, 1.0]))

    # a mirrored point falls on the mirrored pixel of the camera that the image came from
    lidar2img = compose_lidar2img(results['cam2img'], results['lidar2cam'])
    moved, moved_depth, moved_valid = project(expected, lidar2img, results['img_shape'])
    np.testing.assert_allclose(moved_depth, depth[order], atol=1e-6)
    in_front = depth[order] > 0.1
    np.testing.assert_allclose(moved[in_front], np.stack((width - pixels[..., 0], pixels[..., 1]), -1)[order][in_front],
                               rtol=1e-6, atol=1e-3)
    assert moved_valid.sum() == valid.sum()

    for n, source in enumerate(order):
        np.testing.assert_array_equal(results['img'][n], images[source][:, ::-1])
        assert results['img_path'][n] == paths[source]
    assert results['cam_names'][1] == 'CAM_FRONT_RIGHT' and 'CAM_FRONT_LEFT' in results['img_path'][1]
    assert_rigid(results['lidar2cam'])
    assert (results['cam2img'][:, 0, 0] > 0).all()
    np.testing.assert_array_equal(results['lidar_aug_matrix'], np.diag([-1, 1, 1, 1]))


def test_the_mirrored_rig_looks_like_the_rig(results):
    """Camera 1 looks to the front right before and after: the camera IDs keep their meaning."""
    before = results['lidar2cam'][:, 2, :2].copy()  # optical axes from above
    after = TRANSFORMS.build(dict(type='RandomMirrorScene', prob=1.0))(results)['lidar2cam'][:, 2, :2]
    assert ((before * after).sum(-1) > 0.99).all()


def test_mirror_twice_is_nothing(results):
    before = {key: np.copy(results[key]) for key in ('img', 'cam2img', 'lidar2cam', 'ori_cam2img')}
    boxes = results['gt_bboxes_3d'].tensor.clone()
    mirror = TRANSFORMS.build(dict(type='RandomMirrorScene', prob=1.0))
    results = mirror(mirror(results))
    for key, value in before.items():
        np.testing.assert_allclose(results[key], value, atol=1e-9)
    turned = results['gt_bboxes_3d'].tensor - boxes
    torch.testing.assert_close(torch.cos(turned[:, 6]), torch.ones(len(turned)))
    torch.testing.assert_close(turned[:, [0, 1, 2, 3, 4, 5, 7, 8]], torch.zeros(len(turned), 8))
    np.testing.assert_array_equal(results['lidar_aug_matrix'], np.eye(4))


def test_mirror_share_and_order(results):
    assert 'lidar_aug_matrix' not in TRANSFORMS.build(dict(type='RandomMirrorScene', prob=0.0))(results)
    results = TRANSFORMS.build(dict(type='PadSurroundImages', size_divisor=64))(results)
    with pytest.raises(ValueError, match='must come before padding'):
        TRANSFORMS.build(dict(type='RandomMirrorScene', prob=1.0))(results)


def test_rotate_and_scale(results):
    _, pixels, depth, valid = corners_and_pixels(results)
    velocity = results['gt_bboxes_3d'].tensor[:, 7:].clone()
    angle, scale = 0.37, 1.07
    config = dict(type='RandomRotateScaleScene', rotation_range=(angle, angle), scale_range=(scale, scale))
    results = TRANSFORMS.build(config)(results)
    _, new_pixels, new_depth, new_valid = corners_and_pixels(results)
    np.testing.assert_array_equal(new_valid, valid)
    np.testing.assert_allclose(new_depth, scale * depth, atol=1e-4)
    np.testing.assert_allclose(new_pixels[valid], pixels[valid], atol=1e-2)
    assert_rigid(results['lidar2cam'])
    turn = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], dtype=torch.float32)
    torch.testing.assert_close(results['gt_bboxes_3d'].tensor[:, 7:], scale * velocity @ turn.T)


def test_rotate_and_scale_by_hand():
    # a quarter turn from x to y and a doubling: (1, 0, 3) -> (0, 2, 6), heading pi / 2, velocity (0, 10)
    boxes = LiDARInstance3DBoxes(torch.tensor([[1.0, 0, 3, 5, 7, 11, 0, 5, 0]]), box_dim=9)
    results = dict(gt_bboxes_3d=boxes, lidar2cam=np.eye(4)[None])
    config = dict(type='RandomRotateScaleScene', rotation_range=(np.pi / 2, np.pi / 2), scale_range=(2, 2))
    results = TRANSFORMS.build(config)(results)
    expected = [[0.0, 2, 6, 10, 14, 22, np.pi / 2, 0, 10]]
    np.testing.assert_allclose(results['gt_bboxes_3d'].tensor.numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(results['lidar2cam'], [[[0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]],
                               atol=1e-12)


def test_augmentations_add_up(results):
    _, pixels, _, valid = corners_and_pixels(results)
    point = results['gt_bboxes_3d'].tensor[0, :3].double().numpy()
    for config in (dict(type='RandomRotateScaleScene'), dict(type='RandomMirrorScene', prob=1.0),
                   dict(type='RandomRotateScaleScene')):
        results = TRANSFORMS.build(config)(results)
    moved = (results['lidar_aug_matrix'] @ [*point, 1])[:3]
    np.testing.assert_allclose(results['gt_bboxes_3d'].tensor[0, :3].numpy(), moved, atol=1e-4)


def test_scale_must_be_positive():
    with pytest.raises(ValueError, match='0 < low <= high'):
        TRANSFORMS.build(dict(type='RandomRotateScaleScene', scale_range=(1.1, 0.9)))
