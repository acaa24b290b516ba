"""What each part of tools/benchmark.py sets side by side, on the embedded model."""
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from scene_qformer.benchmark import growth, loader, model, ops, train
from scene_qformer.datasets.nuscenes_infos import create_info_files

EMBEDDED = Path(__file__).parents[2] / 'configs' / 'scene_qformer' / 'scene-qformer_tiny_synthetic.py'


@pytest.fixture(autouse=True)
def mmdet3d_scope():
    init_default_scope('mmdet3d')


@pytest.fixture
def cfg() -> Config:
    """With images of 96x64 and 31 learned queries: proposals of random weights change places under any rounding."""
    cfg = Config.fromfile(EMBEDDED)
    cfg.model.scene_queries = dict(type='SceneQueries', num_queries=31, embed_dims=128)
    for dataset in (cfg.train_dataloader.dataset, cfg.test_dataloader.dataset):
        for step in dataset.pipeline:
            if 'size' in step:
                step.size = (96, 64)
    return cfg


@pytest.fixture
def quick(monkeypatch):
    """Without measuring what the machine could do."""
    from scene_qformer.benchmark.floor import Rates
    monkeypatch.setattr(model, 'measure_rates', lambda dtype, device: Rates(1e9, 1e9))


def test_loading_of_synthetic_frames(synthetic_root, tmp_path):
    create_info_files(synthetic_root, 'v1.0-mini', out=tmp_path)
    table = loader.loader_table(synthetic_root, str(tmp_path / 'nuscenes_infos_val.pkl'), (97, 53), frames=2, rounds=1)
    assert table.samples == 2 and list(table.timings) == [loader.BASELINE, loader.OURS, loader.CACHED]
    assert table.ratio(loader.CACHED) > 1.5 and table.floor > 0  # about ten times
    assert table.title == 'Loading: 6 JPEG files of 1600x900 to 97x53'
    with pytest.raises(ValueError, match='Expected 5 frames in .* got 4: ask for fewer'):
        loader.read_frames(synthetic_root, str(tmp_path / 'nuscenes_infos_val.pkl'), 5)


def test_loading_of_real_frames_is_within_the_bounds(real_nuscenes_root, tmp_path):
    """Less than 2 of 255 away from what mmdet3d loads, and intrinsics exact."""
    create_info_files(real_nuscenes_root, 'v1.0-trainval', out=tmp_path)
    infos = loader.read_frames(real_nuscenes_root, str(tmp_path / 'nuscenes_infos_val.pkl'), 2)
    assert loader.intrinsic_error(infos, (336, 336)) < 1e-12
    table = loader.loader_table(real_nuscenes_root, str(tmp_path / 'nuscenes_infos_val.pkl'), (336, 336), 2, rounds=1)
    difference, = (fact for fact in table.facts if fact.startswith('mean absolute difference'))
    from_theirs, from_averages = (float(part.split(' of 255')[0].split()[-1]) if ' of 255' in part else
                                  float(part.split()[0]) for part in difference.partition(': ')[2].split('; '))
    assert 0 < from_averages < from_theirs < 2


def test_pixels_are_what_was_normalised():
    images = torch.arange(2 * 3 * 5 * 7.).view(1, 2, 3, 5, 7)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (loader.MEAN, loader.STD))
    pixels = loader._pixels([(images - mean) / std])
    assert pixels.shape == (2, 5, 7, 3)
    assert np.allclose(pixels, images[0].permute(0, 2, 3, 1).flip(-1).numpy(), atol=1e-3)


def test_the_baseline_computes_attention_weights(cfg):
    plain = model.with_weights(cfg)
    assert plain.model.decoder.self_attn_cfg.type == 'MultiheadAttention'
    assert plain.model.decoder.cross_attn_cfg == cfg.model.decoder.cross_attn_cfg  # deformable
    assert cfg.model.decoder.self_attn_cfg.type == 'GlobalAttention'


def test_tokens_in_several_ways(cfg, quick):
    table = model.model_table(cfg, batch_size=2, rounds=1, ways={
        'bfloat16': model.in_bfloat16, 'zero': lambda built, frames: lambda: torch.zeros(2, 31, 192)})
    assert list(table.timings) == [model.BASELINE, 'float32', 'bfloat16', 'zero'] and table.samples == 2
    errors = {name: float(note) for name, note in table.notes.items()}
    assert errors['float32'] < 1e-4 < errors['bfloat16'] < 0.1 and errors['zero'] == 1
    assert table.title.endswith('2 x 6 images of 96x64')


def test_training_in_several_ways(cfg):
    table = train.train_table(cfg, batch_size=1, rounds=1)
    assert list(table.timings) == ['float32, AdamW', *list(train.ways_on('cpu'))[1:]]
    assert table.baseline == 'float32, AdamW'


@pytest.mark.parametrize(('capability', 'half'), [('AVX2', 0), ('AVX512', 4)])
def test_bfloat16_is_timed_where_it_is_not_emulated(monkeypatch, capability, half):
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: capability)
    ways = train.ways_on('cpu')
    assert sum(bfloat16 for bfloat16, _, _ in ways.values()) == half
    assert sum('bfloat16' in name for name in ways) == half // 2
    assert {way[1:] for way in ways.values()} == {way[1:] for way in train.WAYS.values()}
    assert train.ways_on('cuda:0') == train.WAYS


def test_ways_of_training_are_what_they_are_called(cfg):
    """The last one has all."""
    plain, *_, last = (train.variant(cfg, *way, 'cpu') for way in train.WAYS.values())
    assert plain.optim_wrapper.type == 'OptimWrapper' and not plain.optim_wrapper.optimizer.fused
    assert not plain.model.decoder.get('with_cp') and not plain.model.backbone.get('with_cp')
    assert last.optim_wrapper.type == 'BFloat16OptimWrapper' and last.optim_wrapper.optimizer.fused
    assert last.model.decoder.with_cp and last.model.backbone.with_cp
    on_gpu = train.variant(cfg, *train.WAYS['bfloat16'], 'cuda:0')
    assert (on_gpu.optim_wrapper.type, on_gpu.optim_wrapper.dtype) == ('AmpOptimWrapper', 'bfloat16')


def test_growth(cfg, monkeypatch):
    monkeypatch.setattr(growth, 'DEFAULT', dict(cameras=6, side=64))
    monkeypatch.setattr(growth, 'AXES', {
        'cameras': ((1, 6), lambda value: dict(cameras=value)),
        'image side, pixels': ((64, 128), lambda value: dict(side=value)),
        'queries = scene tokens': ((31, 61), lambda value: {'scene_queries.num_queries': value}),
        'decoder layers': ((1, 3), lambda value: {'decoder.num_layers': value})})
    monkeypatch.setattr(growth, 'TOKENS', (31, 61))
    monkeypatch.setattr(growth, 'READER', dict(growth.READER, hidden_size=16, intermediate_size=24,
                                               num_hidden_layers=1, num_attention_heads=2))
    points = growth.measure_growth(cfg, rounds=1)
    by_axis = {axis: [point for point in points if point.axis == axis] for axis in (*growth.AXES, growth.READERS)}
    assert all(sum(point.is_default for point in of_axis) == 1 for of_axis in by_axis.values())
    assert all(first.operations < second.operations and 0 < first.kept_bytes < second.kept_bytes
               for first, second in by_axis.values())
    default = by_axis['cameras'][1]
    assert default.operations == by_axis['decoder layers'][1].operations
    few, many = (point.operations for point in by_axis['image side, pixels'])
    assert 2 < many / few < 4  # of the decoder, only the keys and values grow with the image
    text = growth.to_markdown(points)
    assert '| cameras | 1 | ' in text and '|  | **6** | **' in text and f'| {growth.READERS} | **31** | **' in text


def test_operators_agree_and_are_timed():
    case = ops.Case('small', 2, 5, ((7, 3), (3, 2)))
    _, ways = ops.operators(case, 'cpu')
    inputs = ops._inputs(case, 'cpu', requires_grad=False)
    results = [way(*inputs) for way in ways.values()]
    assert len(results) == 3 and all(torch.allclose(result, results[0], atol=1e-5) for result in results)
    forward, both = ops.ops_tables(rounds=1, cases=(case, ))
    assert forward.title == 'small, forward' and both.title == 'small, forward and backward'
    assert both.floor == pytest.approx(3 * forward.floor) and forward.floor > 0 and set(both.aims) == {'vectorized'}
