from __future__ import annotations

import json
from pathlib import Path

import pytest

from scene_qformer.evaluation.results_table import DetectionScores, read_scores, to_json, to_markdown

PREFIX = 'NuScenes metric/pred_instances_3d_NuScenes'


def write_test_run(work_dir: Path, timestamp: str, metrics: dict) -> None:
    folder = work_dir / timestamp
    folder.mkdir(parents=True)
    (folder / f'{timestamp}.json').write_text(json.dumps(metrics))


def metrics(score: float) -> dict:
    aps = {f'{PREFIX}/car_AP_dist_{threshold}': value
           for threshold, value in zip(('0.5', '1.0', '2.0', '4.0'), (0.1, 0.2, 0.4, 0.5))}
    return {**aps, f'{PREFIX}/car_trans_err': 0.7, f'{PREFIX}/mATE': 0.8, f'{PREFIX}/mAVE': 1.0,
            f'{PREFIX}/NDS': 2 * score, f'{PREFIX}/mAP': score, 'time': 0.1}


def test_reads_the_newest_run(tmp_path: Path):
    write_test_run(tmp_path, '20260101_000000', metrics(0.1))
    write_test_run(tmp_path, '20260102_000000', metrics(0.2))
    (tmp_path / '20260102_000000' / 'other.json').write_text('{}')
    scores = read_scores(tmp_path)
    assert (scores.mAP, scores.NDS) == (0.2, 0.4)
    assert scores.errors == {'mATE': 0.8, 'mAVE': 1.0}
    assert scores.class_ap == {'car': pytest.approx(0.3)}


def test_errors_say_what_was_expected(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match='expected the work directory of a finished test run'):
        read_scores(tmp_path)
    write_test_run(tmp_path, '20260101_000000', {'accuracy': 0.5})
    with pytest.raises(ValueError, match='lacks mAP and NDS: expected the scores of NuScenesMetric, found accuracy'):
        read_scores(tmp_path)


def test_table_and_json():
    scores = {'untrained': DetectionScores(0.0, 0.01, {'mATE': 1.0}, {'car': 0.0}),
              'trained': DetectionScores(0.1234, 0.2, {'mATE': 0.8}, {'car': 0.5, 'bus': 0.25})}
    assert to_markdown(scores) == '''\
| | untrained | trained |
|---|---:|---:|
| **mAP** | 0.000 | 0.123 |
| **NDS** | 0.010 | 0.200 |
| mATE (lower is better) | 1.000 | 0.800 |
| AP car | 0.000 | 0.500 |
| AP bus | - | 0.250 |
'''
    assert json.loads(to_json(scores))['trained'] == {
        'mAP': 0.1234, 'NDS': 0.2, 'errors': {'mATE': 0.8}, 'class_ap': {'car': 0.5, 'bus': 0.25}}
