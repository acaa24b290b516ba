"""Times are kept for what was timed in the same way, and for nothing else."""
import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch import nn

from scene_qformer.evaluation import kept_times
from scene_qformer.random_batch import random_batch


@pytest.fixture
def timed(monkeypatch, tmp_path):
    """Times one model; tells how often it was really timed."""
    calls = []

    def time_forward(models, batch, rounds):
        calls.append(batch)
        return {name: np.full(rounds, float(len(calls))) for name in models}

    monkeypatch.setattr(kept_times, 'time_forward', time_forward)

    def run(image_size=(32, 16), num_cameras=2, rounds=3, classes=('car', ), **model):
        cfg = Config(dict(model=dict(type='A', **model),
                          test_dataloader=dict(dataset=dict(metainfo=dict(classes=list(classes))))))
        batch = random_batch(num_cameras, image_size)
        seconds = kept_times.time_or_recall(
            dict(a=nn.Linear(3, 5)), dict(a=cfg), batch, rounds, tmp_path / 'times.json')
        assert len(seconds['a']) == rounds
        return len(calls)

    return run


def test_the_same_is_timed_once(timed):
    assert [timed(), timed()] == [1, 1]


@pytest.mark.parametrize('changed', [
    dict(image_size=(48, 16)), dict(image_size=(16, 32)), dict(num_cameras=3), dict(rounds=5), dict(layers=2),
    dict(classes=('car', 'bus'))], ids=str)
def test_what_changed_is_timed_anew(timed, changed):
    timed()
    assert timed(**changed) == 2
    assert timed(**changed) == 2


def test_another_machine_is_timed_anew(timed, monkeypatch):
    timed()
    monkeypatch.setattr(torch, '__version__', '1.2.3')
    assert timed() == 2
    monkeypatch.setattr(kept_times, '_device_name', lambda device: 'another')
    assert timed() == 3
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 97)
    assert timed() == 4
