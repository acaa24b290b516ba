from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.model import BaseModel
from mmengine.runner import Runner

from scene_qformer.visualization import draw_class_scores, draw_learning_curve, read_learning_curve

PREFIX = 'NuScenes metric/pred_instances_3d_NuScenes'


def train_entry(step: int, epoch: int, time: float, loss: float) -> dict:
    return dict(lr=1e-4, data_time=0.01, loss=loss, loss_cls=loss / 2, time=time, epoch=epoch, iter=step, step=step)


def val_entry(epoch: int, score: float) -> dict:
    return {f'{PREFIX}/mAP': score, f'{PREFIX}/NDS': 2 * score, f'{PREFIX}/car_AP_dist_0.5': 0.7, 'time': 0.3,
            'step': epoch}


def write_run(work_dir: Path, timestamp: str, entries: list[dict], tail: str = '') -> Path:
    path = work_dir / timestamp / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text('\n'.join(json.dumps(entry) for entry in entries) + '\n' + tail)
    return path


def test_times_add_up(tmp_path: Path):
    write_run(tmp_path, '20260101_000000', [
        train_entry(5, 1, 2.0, 9.0), train_entry(7, 1, 3.0, 8.0), val_entry(1, 0.05),
        train_entry(12, 2, 1.0, 7.0), train_entry(14, 2, 0.5, 6.0), val_entry(2, 0.11)])
    curve = read_learning_curve(tmp_path)
    np.testing.assert_array_equal(curve.iterations, [5, 7, 12, 14])
    np.testing.assert_allclose(curve.seconds, [10, 16, 21, 22])
    np.testing.assert_array_equal(curve.epochs, [1, 1, 2, 2])
    np.testing.assert_array_equal(curve.loss, [9, 8, 7, 6])
    np.testing.assert_array_equal(curve.val_epochs, [1, 2])
    np.testing.assert_allclose(curve.val_seconds, [16, 22])
    np.testing.assert_allclose(curve.val_scores['mAP'], [0.05, 0.11])
    np.testing.assert_allclose(curve.val_scores['NDS'], [0.10, 0.22])


def test_resumed_run_continues_the_curve(tmp_path: Path):
    # stopped in epoch 2 and resumed from the end of epoch 1 (iteration 7): iteration 12 was done twice
    write_run(tmp_path, '20260101_000000', [train_entry(5, 1, 2.0, 9.0), train_entry(7, 1, 3.0, 8.0),
                                            val_entry(1, 0.05), train_entry(12, 2, 100.0, 99.0)])
    write_run(tmp_path, '20260101_010000', [train_entry(12, 2, 1.0, 7.0), val_entry(2, 0.11)])
    (tmp_path / '20260101_020000').mkdir()  # a test run logs no scalars
    curve = read_learning_curve(tmp_path)
    np.testing.assert_array_equal(curve.iterations, [5, 7, 12])
    np.testing.assert_allclose(curve.seconds, [10, 16, 21])
    np.testing.assert_array_equal(curve.val_epochs, [1, 2])


def test_validations_that_were_made_up_for(tmp_path: Path):
    """Resumed at the end of epoch 1, which had been validated, and after the last one, which had not."""
    write_run(tmp_path, '20260101_000000', [train_entry(7, 1, 2.0, 9.0), val_entry(1, 0.05)])
    write_run(tmp_path, '20260101_010000', [val_entry(1, 0.05), train_entry(14, 2, 3.0, 8.0)])
    write_run(tmp_path, '20260101_020000', [val_entry(2, 0.11)])
    curve = read_learning_curve(tmp_path)
    np.testing.assert_array_equal(curve.iterations, [7, 14])
    np.testing.assert_array_equal(curve.val_epochs, [1, 2])
    np.testing.assert_allclose(curve.val_seconds, [14, 35])
    np.testing.assert_allclose(curve.val_scores['mAP'], [0.05, 0.11])


def test_run_begun_anew_replaces_the_old_one(tmp_path: Path):
    write_run(tmp_path, '20260101_000000', [train_entry(5, 1, 2.0, 9.0), val_entry(1, 0.05)])
    write_run(tmp_path, '20260101_010000', [train_entry(5, 1, 1.0, 3.0)])
    curve = read_learning_curve(tmp_path)
    np.testing.assert_array_equal(curve.loss, [3.0])
    assert len(curve.val_epochs) == len(curve.val_scores['mAP']) == 0
    assert draw_learning_curve(curve).shape == (500, 1300, 3)  # says that no validation was logged


def test_errors_say_what_was_expected(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match='expected the work directory of a training run'):
        read_learning_curve(tmp_path)
    path = write_run(tmp_path, '20260101_000000', [val_entry(1, 0.05)])
    with pytest.raises(ValueError, match='no entry with a loss'):
        read_learning_curve(tmp_path)
    path.write_text('{"loss": 1\n{"step": 2}\n')
    with pytest.raises(ValueError, match='scalars.json, line 1: expected one JSON object a line'):
        read_learning_curve(tmp_path)


def test_half_a_last_line_is_left_out_with_a_warning(tmp_path: Path):
    write_run(tmp_path, '20260101_000000', [train_entry(5, 1, 2.0, 9.0)], tail='{"lr": 0.0001, "lo')
    with pytest.warns(UserWarning, match='last line is cut off'):
        curve = read_learning_curve(tmp_path)
    assert len(curve.loss) == 1


class _Line(BaseModel):
    """y = a x, so that mmengine itself writes the log that the next test reads."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor(0.0))

    def forward(self, x: torch.Tensor, mode: str = 'tensor'):
        if mode == 'loss':
            return dict(loss_slope=((self.slope - 3) * x).square().mean())
        return [self.slope.detach()]


class _Slope(BaseMetric):
    default_prefix = 'a_metric'

    def process(self, data_batch, data_samples) -> None:
        self.results.append(float(data_samples[0]))

    def compute_metrics(self, results: list) -> dict:
        return dict(mAP=results[0])


def test_reads_what_mmengine_writes(tmp_path: Path):
    loader = torch.utils.data.DataLoader([(torch.tensor(1.0), )] * 6, batch_size=2)
    runner = Runner(
        model=_Line(), work_dir=str(tmp_path), train_dataloader=loader, val_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=2), val_cfg=dict(), val_evaluator=Evaluator(_Slope()),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)), log_level='ERROR',
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1), checkpoint=None),
        default_scope='mmengine', experiment_name='test_reads_what_mmengine_writes')
    runner.train()
    curve = read_learning_curve(tmp_path, ('mAP', ))
    np.testing.assert_array_equal(curve.iterations, [1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(curve.epochs, [1, 1, 1, 2, 2, 2])
    np.testing.assert_array_equal(curve.val_epochs, [1, 2])
    # each step takes 0.2 of the way to 3; mmengine logs the mean loss over its window
    np.testing.assert_allclose(curve.val_scores['mAP'], [3 * (1 - 0.8**3), 3 * (1 - 0.8**6)], rtol=1e-5)
    assert curve.loss[0] == pytest.approx(9.0)
    assert (np.diff(curve.seconds) > 0).all()
    assert curve.val_seconds[1] == curve.seconds[-1]


def test_pictures_have_their_size(tmp_path: Path):
    write_run(tmp_path, '20260101_000000', [train_entry(5, 1, 2.0, 9.0), val_entry(1, 0.05),
                                            train_entry(10, 2, 2.0, 5.0), val_entry(2, 0.09)])
    curve = read_learning_curve(tmp_path)
    picture = draw_learning_curve(curve, untrained=dict(mAP=0.0, NDS=0.01), title='a run', size=(700, 300))
    assert picture.shape == (300, 700, 3) and picture.dtype == np.uint8
    without = draw_learning_curve(curve, title='a run', size=(700, 300))
    assert (picture != without).any()


def test_bars_grow_with_the_score():
    def orange_pixels(score: float) -> int:
        picture = draw_class_scores(dict(untrained=dict(car=0.5), trained=dict(car=score)), ('car', 'bus'))
        return int((np.abs(picture.astype(int) - (0xe8, 0x59, 0x0c)).sum(axis=2) < 10).sum())

    assert orange_pixels(0.4) > 1.6 * orange_pixels(0.2) > 1000
