"""Real DriveLM-nuScenes: five key frames with 479 pairs and six images each."""
import json
import re
from collections import Counter
from pathlib import PurePosixPath

import pytest
import torch
from mmdet3d.registry import DATASETS, TASK_UTILS
from mmengine.dataset import pseudo_collate


@pytest.fixture(scope='module')
def path(real_drivelm_root):
    return real_drivelm_root / 'v1_1_train_nus.json'


@pytest.fixture(scope='module')
def counted(path):
    """(sample token, task) to pairs, by walking the JSON for lists of objects with a Q, whatever is around them."""
    found = {}

    def walk(node, way):
        if isinstance(node, dict):
            for key, child in node.items():
                walk(child, (*way, key))
        elif isinstance(node, list) and node and isinstance(node[0], dict) and 'Q' in node[0]:
            found[way[2], way[-1]] = [(pair['Q'], pair['A']) for pair in node]

    walk(json.loads(path.read_text()), ())
    return found


def test_all_pairs_are_read(path, counted):
    questions = TASK_UTILS.build(dict(type='DriveLMQuestions', path=str(path))).load()
    assert len(questions) == 479
    by_task = Counter()
    for (_, task), pairs in counted.items():
        by_task[task] += len(pairs)
    assert Counter(question.type for question in questions) == by_task == dict(
        perception=194, prediction=172, planning=108, behavior=5)
    read = {}
    for question in questions:
        (turn, ) = question.turns
        read.setdefault((question.sample_token, question.type), []).append(turn)
    assert read == counted
    assert all(question.answered for question in questions)


def test_frames_with_six_images_each(path, counted, real_drivelm_root):
    dataset = DATASETS.build(
        dict(type='DrivingImagesDataset', questions=dict(type='DriveLMQuestions', path=str(path)),
             data_root=str(real_drivelm_root / 'nuscenes'),
             pipeline=[dict(type='LoadSurroundImages', size=(400, 225)), dict(type='PackSceneInputs')]))
    loader = torch.utils.data.DataLoader(dataset, batch_size=5, num_workers=1, collate_fn=pseudo_collate)
    (batch, ) = loader
    samples = batch['data_samples']
    assert sum(len(sample.gt_text) for sample in samples) == 479
    assert {sample.sample_token for sample in samples} == {token for token, _ in counted}
    for sample, imgs in zip(samples, batch['inputs']['img']):
        assert imgs.shape == (6, 3, 225, 400) and sample.ori_shape == (900, 1600)
        assert imgs.float().std((1, 2, 3)).min() > 5  # pictures, not blanks
        assert [PurePosixPath(file).parent.name for file in sample.img_path] == sample.cam_names
        assert len(set(sample.img_path)) == 6
        # an object's tag names a camera of the frame and a pixel of the original image
        tags = [tag for text in sample.gt_text for tag in re.findall(r'<c\d+,(\w+),([\d.]+),([\d.]+)>', str(text))]
        assert len(tags) > 10 and {camera for camera, _, _ in tags} <= set(sample.cam_names)
        assert all(0 <= float(u) <= 1600 and 0 <= float(v) <= 900 for _, u, v in tags)
