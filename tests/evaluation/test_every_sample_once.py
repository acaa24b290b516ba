"""Every sample is scored once, by 1, 2 and 3 processes, also if there are fewer samples than processes."""
import pytest
import torch
from mmdet3d.structures import LiDARInstance3DBoxes
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.dist import get_rank, get_world_size
from mmengine.evaluator import Evaluator
from torch.utils.data import DataLoader

from scene_qformer.evaluation import DrivingQAMetric, NuScenesDetectionMetric
from tests.processes import run_processes


class SeenByDevkit(NuScenesDetectionMetric):
    """As far as the results that go to the devkit, which would need a whole data set."""

    def __init__(self, collect_dir):
        super().__init__(data_root='', ann_file='')
        self.collect_dir = collect_dir
        self.dataset_meta = dict(classes=[], version='v1.0-mini')

    def format_results(self, results, classes=None, jsonfile_prefix=None):
        self.seen = [(result['sample_idx'], result['pred_instances_3d']['scores_3d'].item()) for result in results]
        return {}, None


def prediction(index):
    """What the model says of a sample can be told from what it says of others."""
    return dict(sample_idx=index, pred_instances={}, gt_text=[
        dict(id=f'{index}{k}', type='count', turns=[('?', str(index))]) for k in range(index % 3)], pred_text=[
            str(index) if k else 'wrong' for k in range(index % 3)],
        pred_instances_3d=dict(scores_3d=torch.tensor([index / 8]), labels_3d=torch.tensor([0]),
                               bboxes_3d=LiDARInstance3DBoxes(torch.zeros(1, 9), box_dim=9)))


def samplers(name, size):
    if name == 'default':
        return DefaultSampler(range(size), shuffle=False)
    if name == 'shuffled':  # mmengine hands all processes one seed; a wrong one is enough
        return DefaultSampler(range(size), shuffle=True, seed=get_rank())
    if name == 'all on each':
        return list(range(size))
    return [index for _, index in zip(range(size), InfiniteSampler(range(size), seed=1))]


def score(size, batch_size, folder, sampler='default'):
    boxes = SeenByDevkit(f'{folder}/boxes' if get_world_size() > 1 else None)
    answers = DrivingQAMetric(free_text=False, collect_dir=f'{folder}/answers' if get_world_size() > 1 else None,
                              dump=f'{folder}/answers.jsonl')
    evaluator = Evaluator([boxes, answers])
    boxes.ann_file = f'{folder}/infos.json'
    evaluator.dataset_meta = boxes.dataset_meta
    for batch in DataLoader(range(size), batch_size, sampler=samplers(sampler, size)):
        evaluator.process([prediction(int(index)) for index in batch])
    scores = evaluator.evaluate(size)
    return scores, getattr(boxes, 'seen', None)


@pytest.mark.parametrize('size', [1, 2, 5, 7])
@pytest.mark.parametrize('batch_size', [1, 3])
@pytest.mark.parametrize('world_size', [1, 2, 3])
def test_all_processes_give_the_scores_of_one(world_size, batch_size, size, tmp_path):
    (tmp_path / 'infos.json').write_text('{"data_list": []}')
    if size == 1:  # whose only frame has no question
        with pytest.raises(Exception, match='None of the 1 frames has a question'):
            score(size, batch_size, tmp_path)
        return
    results = run_processes(world_size, score, size, batch_size, str(tmp_path))
    right = sum(max(index % 3 - 1, 0) for index in range(size))
    asked = sum(index % 3 for index in range(size))
    assert results[0][1] == [(index, index / 8) for index in range(size)]  # once each, in order, with its own boxes
    assert all(result[1] is None for result in results[1:])
    for scores, _ in results:
        assert scores['driving_qa/accuracy'] == right / asked


@pytest.mark.parametrize(('sampler', 'message'), [
    ('shuffled', 'got results of . of the 5 samples, and . came twice'),
    ('all on each', r'got results of 3 of the 5 samples, and 2 came twice \(0, 1\)'),
])
def test_wrong_samplers_are_errors(sampler, message, tmp_path):
    (tmp_path / 'infos.json').write_text('{"data_list": []}')
    with pytest.raises(Exception, match=message):
        run_processes(2, score, 5, 2, str(tmp_path), sampler)


def test_missing_samples_are_an_error():
    metric = DrivingQAMetric(free_text=False)
    metric.process(None, [prediction(index) for index in (1, 2, 4)])
    with pytest.raises(ValueError, match='got results of 3 of the 4 samples, and 0 came twice, but scores are of each'):
        metric.evaluate(4)
