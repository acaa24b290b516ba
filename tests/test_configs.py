"""Every config builds; rates reach the parameters that the schedule names."""
import copy
import re
from pathlib import Path

import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.utils import register_all_modules
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.optim import build_optim_wrapper

from scene_qformer.random_batch import random_batch

register_all_modules(init_default_scope=True)

CONFIGS = Path(__file__).parents[1] / 'configs' / 'scene_qformer'
DEFAULT = CONFIGS / 'scene-qformer_r50_8xb4-24e_nus-336.py'
STAGE1 = CONFIGS / 'scene-qformer_r50_stage1-frozen-backbone_8xb4-24e_nus-336.py'
STAGE2 = CONFIGS / 'scene-qformer_r50_stage2-finetune_8xb4-24e_nus-336.py'
# All but the default with fewer layers of the same kind, and of timm's large nets a few blocks, by name of the config.
TWO_LAYERS = {'model.decoder.num_layers': 2}
FEW_BLOCKS = {
    'scene-qformer_convnext-tiny_8xb4-24e_nus-336': dict(depths=(1, 1, 1, 1)),
    'scene-qformer_eva02-base_8xb4-24e_nus-336': dict(depth=2),
    'scene-qformer_eva-giant_frozen-backbone_8xb4-24e_nus-336': dict(depth=2),
}
# Queries that are cells of the images: small images have fewer.
FEW_CELLS = {
    'scene-qformer_r50_selected-queries_8xb4-24e_nus-336': {'model.scene_queries.num_queries': 67},
    'scene-qformer_r50_proposal-queries_8xb4-24e_nus-336': {'model.scene_queries.num_proposals': 67},
    'scene-qformer_tiny-stride16_synthetic': {'model.scene_queries.num_proposals': 67},
}


def model_config(path):
    """The config's model, without pretrained weights."""
    cfg = Config.fromfile(path)
    if path != DEFAULT:
        cfg.merge_from_dict(TWO_LAYERS)
    if path.stem in FEW_BLOCKS:
        cfg.model.backbone.model_kwargs = FEW_BLOCKS[path.stem]
    cfg.merge_from_dict(FEW_CELLS.get(path.stem, {}))
    cfg.model.backbone.init_cfg = None
    return cfg


def rates(path):
    """Learning rate of every parameter by name; None for one that is not trained."""
    cfg = model_config(path)
    model = MODELS.build(cfg.model)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    rate_of = {id(parameter): group['lr'] for group in optimizer.param_groups for parameter in group['params']}
    return {name: rate_of.get(id(parameter)) if parameter.requires_grad else None
            for name, parameter in model.named_parameters()}


@pytest.mark.parametrize('path', sorted(CONFIGS.glob('*.py')), ids=lambda path: path.stem)
def test_every_config_gives_losses_and_boxes(path):
    model = MODELS.build(model_config(path).model)
    model.init_weights()
    # torch's ModuleList would hide modules from init_weights
    assert not [name for name, part in model.named_modules() if isinstance(part, BaseModule) and not part.is_init]
    inputs = dict(imgs=torch.randn(2, 6, 3, 48, 64))
    data_samples = random_batch(6, (64, 48), batch_size=2, num_objects=3)['data_samples']
    losses = model.train()(inputs, data_samples, mode='loss')
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    with torch.no_grad():
        results = model.eval()(inputs, data_samples, mode='predict')
        tokens = model(inputs, data_samples, mode='tensor')
    assert all(len(result.pred_instances_3d) > 0 for result in results)
    num_tokens = getattr(model.scene_queries, 'num_tokens', model.scene_queries.num_queries)
    assert tokens.shape == (2, num_tokens, model.projector.out_channels)


@pytest.mark.parametrize('path', sorted(CONFIGS.glob('*.py')), ids=lambda path: path.stem)
def test_head_and_data_agree_on_space_and_classes(path):
    cfg = Config.fromfile(path)
    head = cfg.model.bbox_head
    filters = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
    assert list(head.point_cloud_range) == list(filters['ObjectRangeFilter'].point_cloud_range)
    assert head.num_classes == len(cfg.class_names) == len(cfg.train_dataloader.dataset.metainfo.classes)


def test_fine_tuning_rates():
    by_name = rates(STAGE2)
    assert set(by_name.values()) == {1e-5, 1e-4}
    for name, rate in by_name.items():
        assert rate == pytest.approx(1e-5 if name.startswith('backbone.') else 1e-4), name
    for part in ('decoder.', 'projector.', 'scene_queries.', 'bbox_head.', 'neck.', 'positional_encoding.'):
        assert any(name.startswith(part) for name in by_name)


def test_stage_1_trains_all_but_the_backbone():
    for name, rate in rates(STAGE1).items():
        if name.startswith('backbone.'):
            assert rate is None, name
        else:
            assert rate == pytest.approx(1e-4), name


def test_rates_fall_layer_by_layer_in_eva02():
    by_name = rates(CONFIGS / 'scene-qformer_eva02-base_8xb4-24e_nus-336.py')  # of two blocks here
    assert by_name['backbone.model.blocks.1.attn.proj.weight'] == pytest.approx(1e-5)
    assert by_name['backbone.model.blocks.0.attn.proj.weight'] == pytest.approx(0.8e-5)
    assert by_name['backbone.model.patch_embed.proj.weight'] == pytest.approx(0.64e-5)
    assert {rate for name, rate in by_name.items() if not name.startswith('backbone.')} == {1e-4}


def test_stage_2_starts_from_stage_1():
    cfg = Config.fromfile(STAGE2)
    assert cfg.load_from == f'work_dirs/{STAGE1.stem}/epoch_{Config.fromfile(STAGE1).train_cfg.max_epochs}.pth'
    assert cfg.optim_wrapper.clip_grad.max_norm > 0
    assert [scheduler.type for scheduler in cfg.param_scheduler] == ['LinearLR', 'CosineAnnealingLR']


def test_unknown_part_is_named():
    cfg = copy.deepcopy(model_config(DEFAULT).model)
    cfg.decoder.type = 'SceneQueryDecodr'
    with pytest.raises(KeyError, match='SceneQueryDecodr is not in the mmdet3d::model registry'):
        MODELS.build(cfg)


def test_unknown_key_is_named():
    cfg = copy.deepcopy(model_config(DEFAULT).model)
    cfg.decoder.num_layer = 3
    with pytest.raises(TypeError, match=re.escape("unexpected keyword argument 'num_layer'")):
        MODELS.build(cfg)


@pytest.mark.parametrize('path', sorted(CONFIGS.glob('*.py')), ids=lambda path: path.stem)
def test_info_files_are_found_beside_a_relative_data_root(path, tmp_path, monkeypatch):
    """A data set joins its data_root and its ann_file, the metric takes ann_file as it is."""
    for name in ('NUSCENES_ROOT', 'NUSCENES_INFO_ROOT', 'SYNTHETIC_NUSCENES_ROOT'):
        monkeypatch.delenv(name, raising=False)
    cfg = Config.fromfile(path)
    wanted = {Path(cfg.data_root, f'nuscenes_infos_{split}.pkl') for split in ('train', 'val')}
    found = {Path(loader.dataset.data_root, loader.dataset.ann_file)
             for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader)}
    assert found == wanted
    assert Path(cfg.val_evaluator.ann_file) == Path(cfg.test_evaluator.ann_file) in wanted
