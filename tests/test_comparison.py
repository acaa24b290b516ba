"""What a comparison plans and reports."""
import json
from pathlib import Path

import pytest
from mmengine.config import Config

from scene_qformer.comparison import budgeted_base, plan_runs, row
from scene_qformer.variants import BASE_NAME, with_options

CONFIG = Path(__file__).parents[1] / 'configs/scene_qformer/scene-qformer_tiny_synthetic.py'


def test_schedule_ends_with_the_budget():
    cfg = budgeted_base(Config.fromfile(CONFIG), 3)
    assert cfg.train_cfg.max_epochs == cfg.train_cfg.val_interval == cfg.default_hooks.checkpoint.interval == 3
    cosine = next(schedule for schedule in cfg.param_scheduler if schedule.type == 'CosineAnnealingLR')
    assert cosine.end == cosine.T_max == 3


@pytest.fixture
def configs(monkeypatch):
    def make(root):
        root.mkdir()
        for split in ('train', 'val'):
            (root / f'nuscenes_infos_{split}.pkl').write_bytes(split.encode())
        monkeypatch.setenv('SYNTHETIC_NUSCENES_ROOT', str(root))
        base = budgeted_base(Config.fromfile(CONFIG), 3)
        return {BASE_NAME: base, 'axis: few': with_options(base, {'model.scene_queries': dict(num_queries=7)})}
    return make


def test_runs_know_all_that_decides_them_but_not_where_the_data_lies(configs, tmp_path):
    first, second = (plan_runs(configs(tmp_path / name), [0, 5], tmp_path) for name in ('one', 'two'))
    assert [(run.name, run.seed) for run in first] == [
        ('base', 0), ('axis: few', 0), ('base', 5), ('axis: few', 5)]
    assert len({run.folder for run in first}) == 4
    assert [run.folder for run in first] == [run.folder for run in second]
    assert first[3].cfg.randomness.seed == 5 and first[3].cfg.model.scene_queries.num_queries == 7
    (tmp_path / 'two' / 'nuscenes_infos_val.pkl').write_bytes(b'other labels')
    cfg = Config.fromfile(CONFIG)  # reads the folder from the environment: two
    other = plan_runs({BASE_NAME: budgeted_base(cfg, 3)}, [0], tmp_path)
    assert other[0].folder != first[0].folder


def test_a_row_has_the_scores_there_are_and_quartiles(configs, tmp_path):
    runs = plan_runs(configs(tmp_path / 'data'), [0, 5], tmp_path)
    runs[3].folder.mkdir()
    (runs[3].folder / 'result.json').write_text(json.dumps(dict(mAP=0.25, NDS=0.5, seconds=3)))
    parameters = {BASE_NAME: 11, 'axis: few': 7}
    few = row('axis: few', 'axis', 'few', 'x=1', runs, parameters, {'axis: few': [0.005, 0.001, 0.002, 0.003, 0.004]})
    assert few.scores == {5: dict(mAP=0.25, NDS=0.5)} and few.parameters == 7
    assert few.milliseconds == pytest.approx(3) and few.milliseconds_spread == pytest.approx((2, 4))
    base = row(BASE_NAME, '', BASE_NAME, '', runs, parameters, {})
    assert base.scores == {} and base.milliseconds is None and base.milliseconds_spread is None
