"""The base configs' data loaders and metrics, as a runner builds them."""
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet3d.registry import METRICS
from mmengine.config import Config
from mmengine.runner import Runner

from scene_qformer.datasets.nuscenes_infos import create_info_files
from scene_qformer.evaluation.metric_ceiling import score_ground_truth

CONFIGS = Path(__file__).parents[2] / 'configs/_base_/datasets'


@pytest.fixture(scope='module')
def synthetic_with_infos(synthetic_root, tmp_path_factory):
    """The shared synthetic set, which must not be written into, with info files beside the data."""
    root = tmp_path_factory.mktemp('synthetic') / 'data'
    root.mkdir()
    for path in synthetic_root.iterdir():
        (root / path.name).symlink_to(path)
    create_info_files(root, 'v1.0-mini')
    return root


@pytest.fixture
def tiny(synthetic_with_infos, monkeypatch):
    monkeypatch.setenv('SYNTHETIC_NUSCENES_ROOT', str(synthetic_with_infos))
    return Config.fromfile(CONFIGS / 'synthetic-nus_tiny.py')


def test_a_tiny_training_batch(tiny):
    loader = Runner.build_dataloader(tiny.train_dataloader, seed=0)
    assert len(loader.dataset) == 16
    batch = next(iter(loader))
    assert [img.shape for img in batch['inputs']['img']] == [(6, 3, 112, 448)] * 2
    assert {img.dtype for img in batch['inputs']['img']} == {torch.uint8}
    low, high = np.array(tiny.point_cloud_range[:2]), np.array(tiny.point_cloud_range[3:5])
    assert sum(len(sample.gt_instances_3d.labels_3d) for sample in batch['data_samples']) > 4
    for sample in batch['data_samples']:
        centers = sample.gt_instances_3d.bboxes_3d.bev[:, :2].numpy()
        assert ((low < centers) & (centers < high)).all()


def test_about_half_of_the_training_frames_are_mirrored(tiny):
    dataset = Runner.build_dataloader(tiny.train_dataloader, seed=0).dataset
    turned = [dataset[i]['data_samples'].lidar_aug_matrix for i in list(range(16)) * 2]
    mirrored = [np.linalg.det(matrix[:3, :3]) < 0 for matrix in turned]
    assert 8 < sum(mirrored) < 24


def test_the_default_training_frame(small_root, monkeypatch):
    """The mini root stands in for nuScenes: the config reads the version from the info file."""
    monkeypatch.setenv('NUSCENES_ROOT', str(small_root))
    config = Config.fromfile(CONFIGS / 'nus-3d-scene_336.py')
    dataset = Runner.build_dataloader(dict(config.train_dataloader, num_workers=0, persistent_workers=False)).dataset
    packed = dataset[0]
    assert packed['inputs']['img'].shape == (6, 3, 336, 336)
    assert packed['inputs']['img'].dtype == torch.float32  # distorted
    assert packed['data_samples'].img_shape == (336, 336)  # MultiViewWrapper would lose it


def test_without_data_the_error_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv('SYNTHETIC_NUSCENES_ROOT', str(tmp_path / 'nowhere'))
    config = Config.fromfile(CONFIGS / 'synthetic-nus_tiny.py')
    with pytest.raises(FileNotFoundError, match='data root .*nowhere does not exist'):
        Runner.build_dataloader(config.train_dataloader)


def test_the_truth_scores_full_marks_on_the_tiny_set(tiny):
    """Every class in the val frames reaches AP 1 in mmdet3d's own metric; the version is the info file's."""
    dataset = Runner.build_dataloader(tiny.val_dataloader, seed=0).dataset
    scores = score_ground_truth(dataset, METRICS.build(tiny.val_evaluator))
    present = set()
    for index in range(len(dataset)):
        truth = dataset.get_data_info(index)['eval_ann_info']
        # well within 30 m: the metric's range for the small classes, which it measures from the ego frame
        near = truth['gt_bboxes_3d'].tensor[:, :2].norm(dim=1).numpy() < 25
        present |= {dataset.metainfo['classes'][label] for label in truth['gt_labels_3d'][near]}
    assert len(present) >= 3
    for name in present:
        assert scores[f'NuScenes metric/pred_instances_3d_NuScenes/{name}_AP_dist_0.5'] == pytest.approx(1, abs=1e-3)


def test_the_ceiling_needs_evaluation_annotations(tiny):
    tiny.val_dataloader.dataset.load_eval_anns = False
    dataset = Runner.build_dataloader(tiny.val_dataloader, seed=0).dataset
    with pytest.raises(ValueError, match='test_mode=True and load_eval_anns=True, but frame 0 has no eval_ann_info'):
        score_ground_truth(dataset, METRICS.build(tiny.val_evaluator))
