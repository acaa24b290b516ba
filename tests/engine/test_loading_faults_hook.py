"""What loading left out is told and counted, from whichever worker it comes."""
import logging
import pickle

import pytest
from mmdet3d.registry import DATASETS
from mmdet3d.structures import Det3DDataSample
from mmengine.dataset import pseudo_collate
from mmengine.dist import get_rank
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader

from scene_qformer.datasets.nuscenes_infos import create_info_files
from scene_qformer.engine import LoadingFaultsHook
from tests.datasets.small_nuscenes import write_small_nuscenes
from tests.processes import run_processes


class FakeRunner:
    epoch = 2

    def __init__(self):
        self.logger = logging.getLogger('test_loading_faults_hook')


def sample(token, **metainfo):
    return Det3DDataSample(metainfo=dict(sample_token=token, **metainfo))


def messages(caplog):
    return [record.getMessage() for record in caplog.records]


def test_first_ones_with_reasons_then_totals(caplog):
    hook, runner = LoadingFaultsHook(num_told=2), FakeRunner()
    for step in range(3):
        hook.before_train_iter(runner, step, dict(data_samples=[
            sample(f'good-{step}'),
            sample(f'after-{step}', skipped_samples={f'broken-{step}': 'no file a.jpg'}),
            sample(f'five-{step}', camera_faults=dict(CAM_BACK='cut off', CAM_FRONT='no file b.jpg'))]))
    told = messages(caplog)
    assert told[0] == 'Sample broken-0 was skipped, and after-0 took its place: no file a.jpg'
    assert told[1:3] == ['Camera CAM_BACK of sample five-0 is masked: cut off',
                         'Camera CAM_FRONT of sample five-0 is masked: no file b.jpg']
    assert [text for text in told if 'Further' in text] == [
        'Further ones that are masked are counted, and told at the end.',
        'Further ones that are skipped are counted, and told at the end.']
    assert len(told) == 6
    caplog.clear()
    hook.after_train_epoch(runner)
    assert messages(caplog) == [
        'Training, epoch 3: 3 samples were skipped, in 9 samples. One: Sample broken-0 was skipped, and after-0 took '
        'its place: no file a.jpg',
        'Training, epoch 3: 6 cameras were masked, in 9 samples. One: Camera CAM_BACK of sample five-0 is masked: cut '
        'off']
    caplog.clear()
    hook.after_train_epoch(runner)  # counted anew
    hook.after_test_epoch(runner)
    assert messages(caplog) == []


def test_dropped_on_purpose_is_no_fault(caplog):
    hook = LoadingFaultsHook()
    hook.before_test_iter(FakeRunner(), 0, dict(data_samples=[sample('a', camera_mask=[True, False])]))
    hook.after_test_epoch(FakeRunner())
    assert messages(caplog) == []


@pytest.mark.parametrize('policy', ['skip', 'mask'])
def test_from_worker_processes(tmp_path, caplog, policy):
    """Two of six frames are broken, in two workers; each is told once an epoch."""
    init_default_scope('mmdet3d')
    root = write_small_nuscenes(tmp_path / 'nuscenes', 'v1.0-mini', ('scene-0061', 'scene-0553', 'scene-0103'))
    create_info_files(root, 'v1.0-mini')
    frames = pickle.loads((root / 'nuscenes_infos_train.pkl').read_bytes())['data_list']
    for number in (1, 4):
        next(root.glob(f'samples/CAM_BACK/{frames[number]["images"]["CAM_BACK"]["img_path"]}')).write_bytes(b'')
    dataset = DATASETS.build(dict(
        type='NuScenesSceneDataset', data_root=str(root), ann_file='nuscenes_infos_train.pkl', on_fault=policy,
        pipeline=[dict(type='LoadSurroundImages', size=(29, 23)), dict(type='PackSceneInputs', keys=('img', ))]))
    hook, seen = LoadingFaultsHook(), []
    for batch in DataLoader(dataset, batch_size=1, num_workers=2, collate_fn=pseudo_collate):
        hook.before_train_iter(FakeRunner(), 0, batch)
        seen.append(batch['data_samples'][0].sample_token)
    tokens = [info['token'] for info in frames]
    assert seen == ([tokens[0], tokens[2], tokens[2], tokens[3], tokens[5], tokens[5]] if policy == 'skip' else tokens)
    hook.after_train_epoch(FakeRunner())
    told = messages(caplog)
    assert len(told) == 3 and all(tokens[number] in text for number, text in zip((1, 4), told))
    assert all('CAM_BACK' in text and '0 bytes without the header of an image' in text for text in told)
    noun = dict(skip='samples were skipped', mask='cameras were masked')[policy]
    assert told[2].startswith(f'Training, epoch 3: 2 {noun}, in 6 samples.')


def one_fault_on_each_process():
    class Logger:
        lines: list = []

        def warning(self, line):
            self.lines.append(line)

    runner = FakeRunner()
    runner.logger = Logger()
    hook, rank = LoadingFaultsHook(), get_rank()
    hook.before_test_iter(runner, 0, dict(data_samples=[
        sample(f'of-{rank}', camera_faults=dict(CAM_BACK=f'no file {rank}.jpg'))]))
    hook.after_test_epoch(runner)
    return runner.logger.lines


def test_reasons_of_other_processes_come_with_the_totals():
    """Their own loggers say nothing."""
    lines, _ = run_processes(2, one_fault_on_each_process)
    assert lines == ['Camera CAM_BACK of sample of-0 is masked: no file 0.jpg',
                     'Process 1: Camera CAM_BACK of sample of-1 is masked: no file 1.jpg',
                     'Test: 2 cameras were masked, in 2 samples. One: Camera CAM_BACK of sample of-0 is masked: no '
                     'file 0.jpg']
