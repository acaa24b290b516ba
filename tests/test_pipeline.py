from __future__ import annotations

from pathlib import Path

import pytest

from scene_qformer.pipeline import Pipeline, StepFailed, training_line

TRAIN = ('2026/01/02 03:04:05 - mmengine - INFO - Epoch(train)   [2][ 50/100]  lr: 1.3e-04  eta: 0:07:41  '
         'time: 0.4512  data_time: 0.0113  grad_norm: 31.2  loss: 12.3456  loss_cls: 1.2  d0.loss_cls: 2\n')
VAL = ('2026/01/02 03:04:05 - mmengine - INFO - Epoch(val) [6][10/10]    NuScenes metric/pred_instances_3d_NuScenes/'
       'car_AP_dist_0.5: 0.1234  NuScenes metric/pred_instances_3d_NuScenes/mATE: 0.9  '
       'NuScenes metric/pred_instances_3d_NuScenes/NDS: 0.1523  NuScenes metric/pred_instances_3d_NuScenes/mAP: 0.0871'
       '  data_time: 0.01  time: 0.3\n')


def test_training_line_keeps_what_a_reader_wants():
    assert training_line(TRAIN) == 'epoch   2, step  50/100: loss   12.346, 0.45 s/step, 0:07:41 left'
    assert training_line(TRAIN.replace('0:07:41', '1 day, 2:03:04')).endswith('1 day, 2:03:04 left')
    assert training_line(VAL) == 'after epoch 6: mAP 0.0871, NDS 0.1523'
    assert training_line(VAL.replace('Epoch(val) [6]', 'Epoch(test) ')) == 'mAP 0.0871, NDS 0.1523'
    assert training_line('- INFO - Epoch(val) [2][45/45]    driving_qa/accuracy: 0.3805  driving_qa/accuracy_count: 0.2'
                         ) == 'after epoch 2: accuracy 0.3805'


@pytest.mark.parametrize('line', ['', 'NumPy version: 1.26\n', 'INFO - Epoch(val) [6][ 5/10]    eta: 0:00:02\n',
                                  "optim_wrapper = dict(type='OptimWrapper')\n"])
def test_other_lines_are_left_out(line: str):
    assert training_line(line) is None


def test_nan_loss_is_shown():
    assert 'nan' in training_line(TRAIN.replace('loss: 12.3456', 'loss: nan'))


def script(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / 'script.py'
    path.write_text(text)
    return [str(path)]


def test_steps_are_announced_and_timed(tmp_path: Path, capfd: pytest.CaptureFixture):
    pipeline = Pipeline(2)
    pipeline.run('say it', script(tmp_path, 'print("first"); print("second")'),
                 digest=lambda line: line.strip().upper() if 'second' in line else None)
    pipeline.skip('do more', 'it is done')
    shown = capfd.readouterr().out
    assert '[1/2] say it' in shown and '    SECOND\n' in shown and 'first' not in shown
    assert '[2/2] do more' in shown and 'skipped: it is done' in shown
    assert [title for title, _ in pipeline.times] == ['say it', 'do more']
    assert pipeline.times[0][1] > 0


def test_a_failed_step_shows_its_end_and_stops(tmp_path: Path, capfd: pytest.CaptureFixture):
    failing = script(tmp_path, 'for i in range(60): print("line", i)\nraise SystemExit(3)')
    with pytest.raises(StepFailed, match=r'step 1 of 2 \(break\) failed with code 3'):
        Pipeline(2).run('break', failing, digest=lambda line: None)
    shown = capfd.readouterr().out
    assert 'line 59' in shown and 'line 20\n' in shown and 'line 19\n' not in shown


def test_without_a_digest_all_is_shown(tmp_path: Path, capfd: pytest.CaptureFixture):
    Pipeline(1, verbose=True).run('say it', script(tmp_path, 'print("one")'), digest=lambda line: None)
    assert 'one' in capfd.readouterr().out
