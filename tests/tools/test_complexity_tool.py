import json
import sys
from pathlib import Path

import pytest
from mmdet3d.registry import MODELS
from mmengine.config import Config

from tools.analysis import complexity

CONFIGS = Path(__file__).parents[2] / 'configs' / 'scene_qformer'
SMALLER = ['--image-size', '64', '32', '--runs', '1', '--device', 'cpu', '--cfg-options',
           'model.scene_queries.num_queries=23', 'model.scene_queries.num_proposals=11']


def run(monkeypatch, config, *arguments):
    monkeypatch.setattr(sys, 'argv', ['complexity.py', str(CONFIGS / config), *map(str, arguments)])
    complexity.main()


def test_table_and_numbers(monkeypatch, capsys, tmp_path):
    out = tmp_path / 'folder' / 'costs.json'
    run(monkeypatch, 'scene-qformer_tiny_synthetic.py', '--train', '--batch-size', 2, '--expand', 'decoder', 'neck',
        'scene_queries', '--json', out, *SMALLER)
    printed = capsys.readouterr().out
    assert '2 x 6 images of 64 x 32, cpu' in printed
    costs = {cost['name']: cost for cost in json.loads(out.read_text())}
    assert {'backbone', 'neck', 'neck.out_conv', 'positional_encoding', 'scene_queries', 'decoder',
            'decoder.layers.*.self_attn', 'decoder.layers.*.cross_attn', 'decoder.layers.*.ffn', 'projector',
            'bbox_head', '', 'total'} <= set(costs)
    for name in ('backbone', 'decoder.layers.*.cross_attn', 'projector', 'bbox_head', 'total'):
        assert all(costs[name][key] > 0 for key in (
            'parameters', 'activation_bytes', 'flops', 'seconds', 'train_flops', 'train_seconds')), name
        assert costs[name]['train_flops'] > costs[name]['flops']
    mlp = 2 * (160 * 256 + 256 * 192)  # a query: 128 channels, 32 of its place
    assert costs['projector']['flops'] == 2 * 23 * mlp
    queries = MODELS.build(dict(Config.fromfile(CONFIGS / 'scene-qformer_tiny_synthetic.py').model.scene_queries,
                                num_queries=23, num_proposals=11))
    assert costs['scene_queries']['parameters'] == sum(parameter.numel() for parameter in queries.parameters())
    assert costs['scene_queries.learned']['parameters'] == (23 - 11) * (128 + 3)
    assert f'| projector | {160 * 256 + 256 + 256 * 192 + 192:,} |' in printed


def test_backbone_of_the_default_config(monkeypatch, capsys, tmp_path):
    """ResNet-50 without its classifier: 25,557,032 - 2,049,000 parameters; 4.09 G multiply-adds at 224 x 224."""
    run(monkeypatch, 'scene-qformer_r50_8xb4-24e_nus-336.py', '--json', tmp_path / 'costs.json', '--image-size', '224',
        '224', *SMALLER[3:-1], 'model.decoder.num_layers=1', 'test_dataloader.dataset.cam_names=[CAM_FRONT]')
    costs = {cost['name']: cost for cost in json.loads((tmp_path / 'costs.json').read_text())}
    assert costs['backbone']['parameters'] == 25_557_032 - 2_049_000
    assert costs['backbone']['trained_parameters'] == costs['backbone']['parameters'] - 225_344  # stem and first stage
    assert costs['backbone']['flops'] == pytest.approx(2 * 4.09e9, rel=0.01)
    assert costs['decoder.layers.*.self_attn']['parameters'] == 4 * (256 * 256 + 256)
    assert 'training: GFLOPs' not in capsys.readouterr().out


def test_unknown_part(monkeypatch):
    with pytest.raises(ValueError, match="no part 'nek' to expand; it has backbone, neck"):
        run(monkeypatch, 'scene-qformer_tiny_synthetic.py', '--expand', 'nek', *SMALLER)
