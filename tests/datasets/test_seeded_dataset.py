"""Real frames and their augmentation, loaded by as many workers as one likes."""
import numpy as np
import pytest
import torch
from mmdet3d.registry import DATASETS
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from tests.small_encoder import make_small_encoder


@pytest.fixture(scope='module')
def cfg(tmp_path_factory):
    return make_small_encoder(tmp_path_factory.mktemp('seeded')).cfg


def load(cfg, workers, epoch=1, wrapped=False):
    """Images, matrices and boxes of an epoch by frame."""
    loader = dict(cfg.train_dataloader, num_workers=workers, persistent_workers=workers > 0)
    if wrapped:
        loader['dataset'] = dict(type='SeededDataset', dataset=dict(
            type='RepeatDataset', times=1, dataset=loader['dataset']))
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        loader = Runner.build_dataloader(loader, seed=5)
    loader.batch_sampler.sampler.set_epoch(epoch)
    torch.rand(workers + 1), np.random.rand(workers + 1)  # whatever was drawn before
    return {int(sample.sample_idx): (images, np.array(sample.lidar2img), sample.gt_instances_3d.bboxes_3d.tensor)
            for batch in loader for images, sample in zip(batch['inputs']['img'], batch['data_samples'])}


def equal(one, other):
    return one.keys() == other.keys() and all(
        all(map(torch.equal, map(torch.as_tensor, one[frame]), map(torch.as_tensor, other[frame]))) for frame in one)


def test_workers_make_no_difference(cfg):
    frames = load(cfg, 0)
    assert len(frames) == 6
    assert equal(frames, load(cfg, 2)) and equal(frames, load(cfg, 1))
    assert equal(frames, load(cfg, 0, wrapped=True))


def test_epochs_do(cfg):
    assert not equal(load(cfg, 0, epoch=1), load(cfg, 0, epoch=2))


def test_wrapper_shows_what_is_inside(cfg):
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        dataset = DATASETS.build(dict(type='SeededDataset', dataset=cfg.train_dataloader.dataset))
    dataset.full_init()
    assert len(dataset) == 6 and dataset.metainfo['classes'][0] == 'car'
    assert dataset.get_data_info(2)['token'] and dataset[2]['data_samples'].sample_idx == 2
