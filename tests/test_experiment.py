from __future__ import annotations

import json
from pathlib import Path

import pytest
from mmengine.config import Config

from scene_qformer.experiment import epoch_options, has_scores, keep_other_results, last_epoch, train_by_heart
from scene_qformer.inference import spread_indices


def test_epochs_stretch_the_schedule():
    cfg = Config(dict(
        train_cfg=dict(max_epochs=24, val_interval=6),
        param_scheduler=[
            dict(type='LinearLR', by_epoch=False, begin=0, end=24),
            dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=24, T_max=24)]))
    options = dict(option.split('=') for option in epoch_options(cfg, 3))
    assert options == {'train_cfg.max_epochs': '3', 'train_cfg.val_interval': '3', 'param_scheduler.1.end': '3',
                       'param_scheduler.1.T_max': '3'}
    cfg.merge_from_dict({key: int(value) for key, value in options.items()})
    assert cfg.param_scheduler[1].T_max == cfg.train_cfg.max_epochs == 3
    assert cfg.param_scheduler[0].end == 24  # iterations


def test_by_heart_means_steps_on_plain_frames():
    augmented = ['LoadSurroundImages', 'RandomMirrorScene', 'MultiViewWrapper', 'PackSceneInputs']
    cfg = Config(dict(
        train_dataloader=dict(batch_size=8, sampler=dict(type='DefaultSampler', shuffle=True),
                              dataset=dict(pipeline=[dict(type=name) for name in augmented])),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=24), param_scheduler=[],
        log_processor=dict(by_epoch=True), default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1))))
    train_by_heart(cfg, steps=70, batch_size=3)
    assert [step.type for step in cfg.train_dataloader.dataset.pipeline] == ['LoadSurroundImages', 'PackSceneInputs']
    assert cfg.train_dataloader.batch_size == 3 and cfg.train_dataloader.sampler.type == 'InfiniteSampler'
    assert cfg.train_cfg.max_iters == cfg.default_hooks.checkpoint.interval == cfg.param_scheduler[1].T_max == 70
    assert cfg.train_cfg.val_begin > 70  # the caller validates
    assert cfg.param_scheduler[0].end == 35  # of few steps, half of them
    train_by_heart(cfg, steps=1, batch_size=3)
    assert cfg.param_scheduler[0].end == 1  # mmengine refuses a warm-up of no step


def test_results_of_other_settings_are_moved_aside(tmp_path: Path, capsys: pytest.CaptureFixture):
    out = tmp_path / 'demo'
    keep_other_results(out, dict(epochs=3))
    (out / 'results.md').write_text('of 3 epochs')
    keep_other_results(out, dict(epochs=3))
    assert (out / 'results.md').is_file()
    keep_other_results(out, dict(epochs=5))
    assert not (out / 'results.md').exists()
    assert json.loads((out / 'settings.json').read_text()) == dict(epochs=5)
    aside, = tmp_path.glob('demo_until_*')
    assert (aside / 'results.md').read_text() == 'of 3 epochs'
    assert str(aside) in capsys.readouterr().out


def test_last_epoch(tmp_path: Path):
    assert last_epoch(tmp_path) == 0
    (tmp_path / 'last_checkpoint').write_text('/somewhere/train/epoch_17.pth')
    assert last_epoch(tmp_path) == 17


def test_has_scores(tmp_path: Path):
    assert not has_scores(tmp_path)
    (tmp_path / '20260101_000000').mkdir()
    (tmp_path / '20260101_000000' / '20260101_000000.json').write_text('{"metric/mAP": 0.1, "metric/NDS": 0.2}')
    assert has_scores(tmp_path)


def test_spread_indices():
    assert spread_indices(11, 3) == [0, 5, 10]
    assert spread_indices(5, 1) == [0]
    assert spread_indices(3, 7) == [0, 1, 2]
    with pytest.raises(ValueError, match='got 0 and 3'):
        spread_indices(0, 3)
