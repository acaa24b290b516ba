"""Models for measuring are initialised as for training, without any file."""
from pathlib import Path

import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.utils import register_all_modules
from mmengine.config import Config, ConfigDict

from scene_qformer.fresh_model import build_fresh_model, without_checkpoints

register_all_modules(init_default_scope=True)

CONFIGS = Path(__file__).parents[1] / 'configs' / 'scene_qformer'


def test_reference_points_are_the_initialised_ones():
    cfg = Config.fromfile(CONFIGS / 'scene-qformer_r18_8xb4-24e_nus-336.py').model  # wants a file of weights
    assert 'checkpoint' in cfg.backbone.init_cfg
    cfg.decoder.num_layers = 1
    model = build_fresh_model(cfg)
    queries = MODELS.build(cfg.scene_queries)
    queries.init_weights()  # a Sobol sequence: the same every time
    points = model.scene_queries.reference_points.weight
    assert torch.equal(points, queries.reference_points.weight)
    assert ((points > 0) & (points < 1)).all() and (points[:, 2] == 0.5).all()
    assert 'checkpoint' in cfg.backbone.init_cfg  # the config given stays as it is


def test_no_file_is_read_anywhere():
    file, normal = dict(type='Pretrained', checkpoint='a.pth'), dict(type='Normal', layer='Linear')
    cfg = ConfigDict(a=dict(init_cfg=file, pretrained='a.pth', b=2), c=[dict(init_cfg=[normal, file])],
                     d=dict(init_cfg=[file]), e=dict(init_cfg=normal, pretrained=None), f=(3, 'x'))
    assert without_checkpoints(cfg) == dict(
        a=dict(init_cfg=None, pretrained=None, b=2), c=[dict(init_cfg=[normal])], d=dict(init_cfg=None),
        e=dict(init_cfg=normal, pretrained=None), f=(3, 'x'))
    assert cfg.a.init_cfg == file


@pytest.mark.parametrize('name', ['scene-qformer_r50_8xb4-24e_nus-336', 'scene-qformer_tiny_synthetic'])
def test_the_tools_measure_initialised_models(monkeypatch, name):
    """What the two tools hand to their measurements."""
    from scene_qformer import comparison
    from tools.analysis import complexity

    path = CONFIGS / f'{name}.py'
    cfg = Config.fromfile(path)
    cfg.model.decoder.num_layers = 1
    queries = build_fresh_model(cfg.model).scene_queries
    wanted = {key: value for key, value in queries.named_parameters() if key.endswith('reference_points.weight')}
    assert wanted
    seen = []

    def measure_complexity(model, *args):
        seen.append(model)
        return []

    def time_or_recall(models, *args):
        seen.extend(models.values())
        return {}

    monkeypatch.setattr(complexity, 'measure_complexity', measure_complexity)
    monkeypatch.setattr(complexity, 'to_markdown', lambda costs: '')
    monkeypatch.setattr(comparison, 'time_or_recall', time_or_recall)
    monkeypatch.setattr('sys.argv', ['complexity.py', str(path), '--image-size', '64', '32', '--device', 'cpu',
                                     '--cfg-options', 'model.decoder.num_layers=1'])
    complexity.main()
    comparison.measure(dict(one=cfg), 1, Path('unused.json'))
    assert len(seen) == 2
    for model in seen:
        found = dict(model.scene_queries.named_parameters())
        assert all(torch.equal(found[key], value) for key, value in wanted.items())
