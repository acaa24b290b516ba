"""What a comparison plans and reports."""
import json
from pathlib import Path

import pytest
from mmengine.config import Config

from scene_qformer.comparison import budgeted_base, plan_image_branch, plan_runs, pretraining_of, row, start_from
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


def test_the_image_branch_is_the_configs_own():
    cfg = Config.fromfile(CONFIG)
    pretraining = pretraining_of(cfg, 5)
    model = pretraining.model
    assert model.type == 'ImageCenterPretraining' and model.backbone == cfg.model.backbone
    assert model.center_head.loss_depth == cfg.model.scene_queries.center_head.loss_depth
    assert pretraining.train_dataloader == cfg.train_dataloader  # with its augmentation
    assert pretraining.train_cfg.max_epochs == 5 and pretraining.val_cfg is None
    cfg.model.scene_queries = dict(type='SceneQueries', num_queries=7, embed_dims=128)
    assert pretraining_of(cfg, 5).model.center_head == dict(num_classes=10, embed_dims=128)


def test_variants_start_from_one_branch_wherever_it_lies(configs, tmp_path):
    folders = set()
    for name in ('one', 'two'):
        base = configs(tmp_path / name)
        branch = plan_image_branch(Config.fromfile(CONFIG), 5, tmp_path / name / 'runs')
        assert not branch.scored
        with pytest.raises(ValueError, match='is not finished'):
            start_from(base[BASE_NAME], branch)
        branch.folder.mkdir(parents=True)
        (branch.folder / 'result.json').write_text(json.dumps(dict(seconds=3, checkpoint='epoch_5.pth')))
        begun = {key: start_from(cfg, branch) for key, cfg in base.items()}
        assert begun[BASE_NAME].load_from == str(branch.folder / 'epoch_5.pth')
        assert begun[BASE_NAME].model.frozen_parts == ['backbone']
        folders.add(plan_runs(begun, [0], tmp_path / name / 'runs')[0].folder.name)
        assert plan_runs(base, [0], tmp_path / name / 'runs')[0].folder.name not in folders
    assert len(folders) == 1
