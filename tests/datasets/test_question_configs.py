"""The base configs with questions: their data loaders, as a runner builds them."""
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from question_files import generated, nuscenes_qa

CONFIGS = Path(__file__).parents[2] / 'configs/_base_/datasets'


def loader(cfg):
    return Runner.build_dataloader(dict(cfg, num_workers=0, persistent_workers=False), seed=0)


@pytest.fixture
def nuscenes_with_qa(small_root, tmp_path, monkeypatch):
    """Questions about one frame of the train split, and one of val; the mini root stands in for nuScenes."""
    for split, scene in (('train', 'scene-0553'), ('val', 'scene-0103')):
        content = nuscenes_qa([f'{scene}-sample-1'] * 3)
        (tmp_path / f'NuScenes_{split}_questions.json').write_text(json.dumps(content))
    monkeypatch.setenv('NUSCENES_ROOT', str(small_root))
    monkeypatch.setenv('NUSCENES_QA_ROOT', str(tmp_path))
    return Config.fromfile(CONFIGS / 'nus-questions_336.py')


def test_a_training_frame_has_images_boxes_and_questions(nuscenes_with_qa):
    dataset = loader(nuscenes_with_qa.train_dataloader).dataset
    assert len(dataset) == 1
    packed = dataset[0]
    sample = packed['data_samples']
    assert packed['inputs']['img'].shape == (6, 3, 336, 336)
    assert packed['inputs']['img'].dtype == torch.float32  # distorted
    assert sample.sample_token == 'scene-0553-sample-1' and len(sample.gt_instances_3d.labels_3d) > 0
    assert [text['turns'][0][1] for text in sample.gt_text] == ['yes', 'car', '3']
    assert 'lidar_aug_matrix' not in sample  # neither mirrored nor turned


def test_of_many_questions_eight_are_learned_and_all_are_tested(small_root, tmp_path, nuscenes_with_qa):
    for split, scene in (('train', 'scene-0553'), ('val', 'scene-0103')):
        content = nuscenes_qa([f'{scene}-sample-1'] * 3)
        content['questions'] *= 4
        (tmp_path / f'NuScenes_{split}_questions.json').write_text(json.dumps(content))
    assert len(loader(nuscenes_with_qa.train_dataloader).dataset[0]['data_samples'].gt_text) == 8
    for cfg in (nuscenes_with_qa.val_dataloader, nuscenes_with_qa.test_dataloader):
        sample = loader(cfg).dataset[0]['data_samples']
        assert sample.sample_token == 'scene-0103-sample-1' and len(sample.gt_text) == 12


def test_without_questions_the_error_names_the_file(nuscenes_with_qa, tmp_path):
    (tmp_path / 'NuScenes_train_questions.json').unlink()
    with pytest.raises(FileNotFoundError, match='NuScenes_train_questions.json'):
        loader(nuscenes_with_qa.train_dataloader)


def test_the_synthetic_frames_stay_as_their_questions_are(small_root, tmp_path, monkeypatch):
    """The mini root stands in for the synthetic set."""
    root = tmp_path / 'root'
    root.mkdir()
    for path in small_root.iterdir():
        (root / path.name).symlink_to(path)
    for split, scene in (('train', 'scene-0061'), ('val', 'scene-0103')):
        content = generated([f'{scene}-sample-1'] * 3, [scene] * 3)
        (root / f'questions_{split}.json').write_text(json.dumps(content))
    monkeypatch.setenv('SYNTHETIC_NUSCENES_ROOT', str(root))
    cfg = Config.fromfile(CONFIGS / 'synthetic-nus_questions_tiny.py')
    packed = loader(cfg.train_dataloader).dataset[0]
    sample = packed['data_samples']
    assert packed['inputs']['img'].shape == (6, 3, 112, 448)
    assert 'lidar_aug_matrix' not in sample.metainfo_keys()  # answers name cameras, and left and right
    assert len(sample.gt_text) == 3 and 'gt_instances_3d' in sample
    tested = loader(cfg.test_dataloader).dataset[0]
    assert tested['inputs']['img'].shape == (6, 3, 112, 448) and len(tested['data_samples'].gt_text) == 3
