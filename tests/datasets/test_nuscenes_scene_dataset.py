"""The dataset from info file to what the model gets."""
import pickle

import numpy as np
import pytest
import torch
from mmdet3d.registry import DATASETS, MODELS
from mmdet3d.structures import LiDARInstance3DBoxes
from mmengine.dataset import pseudo_collate
from nuscenes.nuscenes import NuScenes
from pyquaternion import Quaternion

from scene_qformer.datasets import NUSCENES_CAMERAS, NuScenesSceneDataset

PIPELINE = [
    dict(type='LoadSurroundImages', size=(74, 46)),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='PackSceneInputs'),
]


def build(root, ann_file='nuscenes_infos_train.pkl', pipeline=PIPELINE, **options):
    return DATASETS.build(
        dict(type='NuScenesSceneDataset', data_root=str(root), ann_file=str(ann_file), pipeline=pipeline, **options))


def test_a_training_frame(small_root):
    dataset = build(small_root)
    assert len(dataset) == 6 and dataset.metainfo['version'] == 'v1.0-mini'
    packed = dataset[1]
    assert packed['inputs']['img'].shape == (6, 3, 46, 74) and packed['inputs']['img'].dtype == torch.uint8
    sample = packed['data_samples']
    assert sample.sample_token == 'scene-0061-sample-1' and sample.sample_idx == 1
    assert sample.cam_names == list(NUSCENES_CAMERAS)
    assert [name in path for name, path in zip(NUSCENES_CAMERAS, sample.img_path)] == [True] * 6
    for key in ('cam2img', 'lidar2cam', 'lidar2img', 'ori_cam2img'):
        assert getattr(sample, key).shape == (6, 4, 4) and getattr(sample, key).dtype == np.float64
    np.testing.assert_allclose(sample.lidar2img, sample.cam2img @ sample.lidar2cam)
    assert sample.lidar2ego.shape == sample.ego2global.shape == (4, 4)
    assert sample.img_shape == (46, 74) and sample.ori_shape == (184, 296)
    assert sample.box_type_3d is LiDARInstance3DBoxes

    # of five objects one is an animal and one, the cone, has no point
    truth = sample.gt_instances_3d
    assert truth.labels_3d.tolist() == [0, 1, 7]
    assert isinstance(truth.bboxes_3d, LiDARInstance3DBoxes) and truth.bboxes_3d.tensor.shape == (3, 9)


def test_boxes_by_the_devkit(small_root):
    """Bottom centres, sizes, yaws and velocities against what the devkit says of the same frame."""
    nusc = NuScenes('v1.0-mini', str(small_root), verbose=False)
    sample = nusc.get('sample', 'scene-0061-sample-1')
    _, boxes, _ = nusc.get_sample_data(sample['data']['LIDAR_TOP'])
    truth = build(small_root)[1]['data_samples'].gt_instances_3d.bboxes_3d
    lidar2ego = nusc.get('calibrated_sensor', 'calibrated-LIDAR_TOP')
    ego = nusc.get('ego_pose', nusc.get('sample_data', sample['data']['LIDAR_TOP'])['ego_pose_token'])
    for box, token, row in zip(boxes[:3], sample['anns'], truth.tensor.double().numpy()):
        np.testing.assert_allclose(row[:2], box.center[:2], atol=1e-4)
        np.testing.assert_allclose(row[2], box.center[2] - box.wlh[2] / 2, atol=1e-4)  # mmdet3d: the bottom
        np.testing.assert_allclose(row[3:6], box.wlh[[1, 0, 2]], atol=1e-4)
        np.testing.assert_allclose(np.cos(row[6] - box.orientation.yaw_pitch_roll[0]), 1, atol=1e-6)
        velocity = nusc.box_velocity(token)
        for record in (ego, lidar2ego):
            velocity = Quaternion(record['rotation']).inverse.rotate(velocity)
        np.testing.assert_allclose(row[7:], velocity[:2], atol=0.05)  # the vertical share is left out


def test_use_valid_flag(small_root):
    """The truck has radar points only, the cone none at all."""
    assert build(small_root)[0]['data_samples'].gt_instances_3d.labels_3d.tolist() == [0, 1, 7]
    truth = build(small_root, use_valid_flag=False)[0]['data_samples'].gt_instances_3d
    assert truth.labels_3d.tolist() == [0, 7] and truth.bboxes_3d.tensor.shape == (2, 9)


def test_a_test_frame_carries_the_truth_for_evaluation(small_root):
    pipeline = [PIPELINE[0], dict(type='PackSceneInputs', keys=('img', ))]
    sample = build(small_root, 'nuscenes_infos_val.pkl', pipeline, test_mode=True)[0]['data_samples']
    assert sample.eval_ann_info['gt_labels_3d'].tolist() == [0, 1, 7]
    assert 'bboxes_3d' not in sample.gt_instances_3d


def test_camera_choice_and_order(small_root):
    names = ['CAM_BACK', 'CAM_FRONT_LEFT']
    some, every = build(small_root, cam_names=names)[0], build(small_root)[0]
    index = [NUSCENES_CAMERAS.index(name) for name in names]
    assert some['data_samples'].cam_names == names
    torch.testing.assert_close(some['inputs']['img'], every['inputs']['img'][index])
    np.testing.assert_array_equal(some['data_samples'].lidar2img, every['data_samples'].lidar2img[index])


def test_a_subset_of_classes(small_root):
    truth = build(small_root, metainfo=dict(classes=['pedestrian', 'car']))[0]['data_samples'].gt_instances_3d
    assert truth.labels_3d.tolist() == [1, 0] and len(truth.bboxes_3d) == 2


def test_mmdet3ds_own_loader_gives_the_same(small_root):
    theirs = dict(type='LoadMultiViewImageFromFiles', color_type='color', num_views=6)
    one, other = (build(small_root, pipeline=[load, *PIPELINE[1:]])[2]
                  for load in (theirs, dict(type='LoadSurroundImages')))
    torch.testing.assert_close(one['inputs']['img'], other['inputs']['img'])
    for key in ('lidar2img', 'cam2img', 'ori_cam2img', 'cam_names', 'img_path', 'img_shape'):
        np.testing.assert_array_equal(getattr(one['data_samples'], key), getattr(other['data_samples'], key))


def test_an_empty_road_is_a_frame(small_root):
    dataset = build(small_root, metainfo=dict(classes=['bicycle']))
    truth = dataset[3]['data_samples']
    assert truth.sample_idx == 3  # not replaced by another frame
    assert truth.gt_instances_3d.bboxes_3d.tensor.shape == (0, 9) and truth.gt_instances_3d.labels_3d.shape == (0, )


def test_through_the_preprocessor(small_root):
    """mmdet3d's own preprocessor stacks cameras, turns BGR to RGB, normalises and pads."""
    dataset = build(small_root)
    mean, std = (120.0, 110.0, 100.0), (60.0, 50.0, 40.0)
    preprocessor = MODELS.build(
        dict(type='Det3DDataPreprocessor', mean=mean, std=std, bgr_to_rgb=True, pad_size_divisor=16))
    batch = preprocessor(pseudo_collate([dataset[0], dataset[3]]), training=True)
    imgs = batch['inputs']['imgs']
    assert imgs.shape == (2, 6, 3, 48, 80) and imgs.dtype == torch.float32
    rgb = dataset[3]['inputs']['img'][5].flip(0).float()
    expected = (rgb - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    torch.testing.assert_close(imgs[1, 5, :, :46, :74], expected)
    assert (imgs[:, :, :, 46:] == 0).all() and (imgs[..., 74:] == 0).all()
    sample = batch['data_samples'][1]
    assert tuple(sample.pad_shape) == (48, 80) and sample.img_shape == (46, 74)


def test_a_data_loader_with_workers(small_root):
    loader = torch.utils.data.DataLoader(build(small_root), batch_size=3, num_workers=1, collate_fn=pseudo_collate)
    tokens = [sample.sample_token for batch in loader for sample in batch['data_samples']]
    assert tokens == [f'{scene}-sample-{i}' for scene in ('scene-0061', 'scene-0553') for i in range(3)]


class TestErrors:

    def change(self, small_root, tmp_path, edit):
        content = pickle.loads((small_root / 'nuscenes_infos_train.pkl').read_bytes())
        content = edit(content) or content
        path = tmp_path / 'infos.pkl'
        path.write_bytes(pickle.dumps(content))
        return path

    def test_no_data(self, tmp_path):
        with pytest.raises(FileNotFoundError, match='The data root .*nowhere does not exist'):
            build(tmp_path / 'nowhere')

    def test_no_info_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match='There is no info file .*\nCreate it with\n.*create_data.py'):
            build(tmp_path)

    def test_wrong_version(self, small_root):
        with pytest.raises(ValueError, match="config says version 'v1.0-trainval', but .* from version 'v1.0-mini'"):
            build(small_root, metainfo=dict(version='v1.0-trainval'))

    def test_missing_camera(self, small_root, tmp_path):

        def drop_camera(content):
            del content['data_list'][4]['images']['CAM_BACK']

        path = self.change(small_root, tmp_path, drop_camera)
        with pytest.raises(ValueError, match='Sample scene-0553-sample-1 .* has no camera CAM_BACK; it has CAM_FR'):
            build(small_root, path)

    def test_missing_matrix(self, small_root, tmp_path):

        def drop_matrix(content):
            del content['data_list'][4]['images']['CAM_BACK']['lidar2cam']

        path = self.change(small_root, tmp_path, drop_matrix)
        with pytest.raises(ValueError, match='scene-0553-sample-1 .* camera CAM_BACK lacks lidar2cam'):
            build(small_root, path)

    def test_unknown_camera(self, small_root):
        with pytest.raises(ValueError, match='has no camera CAM_TOP; it has CAM_FRONT, .*\nCorrect cam_names'):
            build(small_root, cam_names=['CAM_FRONT', 'CAM_TOP'])

    @pytest.mark.parametrize('names', [[], ['CAM_FRONT', 'CAM_FRONT']])
    def test_camera_names_that_make_no_sense(self, small_root, names):
        with pytest.raises(ValueError, match='one or more different names'):
            build(small_root, cam_names=names)

    def test_old_era(self, small_root, tmp_path):
        path = self.change(small_root, tmp_path, lambda c: dict(infos=c['data_list'], metadata=c['metainfo']))
        with pytest.raises(ValueError, match="found a dict with 'infos', the format of mmdet3d 0.x"):
            build(small_root, path)

    def test_no_frames(self, small_root, tmp_path):
        path = self.change(small_root, tmp_path, lambda c: c['data_list'].clear())
        with pytest.raises(ValueError, match='holds no frames: the root it was made from has no scene of this split'):
            build(small_root, path)

    def test_singular_intrinsic(self, small_root, tmp_path):

        def edit(content):
            content['data_list'][2]['images']['CAM_BACK_LEFT']['cam2img'][0][0] = 0.0

        dataset = build(small_root, self.change(small_root, tmp_path, edit))
        with pytest.raises(ValueError, match='cam2img of camera CAM_BACK_LEFT of sample scene-0061-sample-2'):
            dataset[2]

    def test_singular_after_the_transforms(self, small_root):

        def flatten(results):
            results['cam2img'][1, 0] = 0
            return results

        dataset = build(small_root, pipeline=[*PIPELINE[:2], flatten, PIPELINE[-1]])
        with pytest.raises(ValueError, match=r'scene-0061-sample-0 after the image transforms, .* index \(1,\)'):
            dataset[0]

    def test_the_class_is_an_mmdet3d_dataset(self):
        assert DATASETS.get('NuScenesSceneDataset') is NuScenesSceneDataset
