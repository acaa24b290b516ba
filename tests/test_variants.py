"""Every variant of the comparison is the base with one entry replaced, and trains a step; the rig stays as it is."""
import copy
from pathlib import Path

import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.utils import register_all_modules
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from scene_qformer.random_batch import random_batch
from scene_qformer.variants import as_typed, axes, base_options, cross, with_options

register_all_modules(init_default_scope=True)

CONFIG = Path(__file__).parents[1] / 'configs/scene_qformer/scene-qformer_tiny_synthetic.py'
SMALLER = {
    'model.backbone.base_channels': 4,
    'model.neck.in_channels': [8, 16, 32],
    'model.scene_queries.num_queries': 48,
    'optim_wrapper.type': 'BFloat16OptimWrapper',
}


def small_config():
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict(SMALLER)
    if 'num_proposals' in cfg.model.scene_queries:
        cfg.model.scene_queries.num_proposals = 29
    return cfg


CFG = small_config()
AXES = axes(CFG)
BASE = with_options(CFG, base_options(CFG))
ALL = {f'{axis}: {name}': options for axis, members in AXES.items() for name, options in members.items()}


@pytest.mark.parametrize('options', [{}, *ALL.values()], ids=['base', *ALL])
def test_trains_a_step_in_half_precision(options):
    cfg = with_options(BASE, options)
    model = MODELS.build(cfg.model)
    model.init_weights()
    log = model.train().train_step(random_batch(6, (96, 32), 2, num_objects=5), build_optim_wrapper(
        model, cfg.optim_wrapper))
    assert torch.isfinite(log['loss'])
    with torch.inference_mode():
        result = model.eval().test_step(random_batch(6, (96, 32)))[0]
    assert len(result.pred_instances_3d) > 0


def test_each_changes_what_its_axis_says_and_nothing_else():
    parts = {'cross-attention': {'decoder'}, 'encoding': {'positional_encoding'},
             'queries': {'scene_queries', 'bbox_head'}}
    for axis, changed in parts.items():
        for name, options in AXES[axis].items():
            cfg = with_options(BASE, options)
            assert {key for key in cfg if cfg[key] != BASE[key]} == {'model'}, name
            assert {key for key in cfg.model if cfg.model[key] != BASE.model[key]} - changed == set(), name
            assert cfg.model != BASE.model, name


def test_the_base_takes_sizes_from_the_config():
    assert BASE.model.scene_queries == dict(
        type='SceneQueries', num_queries=48, embed_dims=CFG.model.decoder.embed_dims,
        concentration=CFG.model.scene_queries.get('concentration', 1.))
    assert BASE.model.decoder.cross_attn_cfg.type == 'SurroundDeformableAttention'
    assert BASE.model.get('denoising') == CFG.model.get('denoising')
    assert len(BASE.train_dataloader.dataset.pipeline) == len(CFG.train_dataloader.dataset.pipeline) - 2
    assert CFG.train_dataloader.dataset.pipeline[3].type == 'RandomMirrorScene'  # the config given stays as it is


def test_no_step_of_training_moves_a_camera():
    """Else what knows a camera by its number would learn from labels that are turned against the images."""
    pipeline = BASE.train_dataloader.dataset.pipeline
    assert not [step.type for step in pipeline if 'Mirror' in step.type or 'Rotate' in step.type or 'Warp' in step.type]
    # images are read and cropped as in validation: so the cameras are those of validation
    tested = [step for step in BASE.test_dataloader.dataset.pipeline if step.type != 'PackSceneInputs']
    assert pipeline[:len(tested)] == tested
    assert [step.type for step in pipeline[len(tested):]] == [
        'LoadAnnotations3D', 'ObjectRangeFilter', 'ObjectNameFilter', 'PackSceneInputs']


def test_what_does_not_project_is_also_compared_under_rays():
    plain, informed = AXES['cross-attention'], AXES['cross-attention, under sine + rays']
    assert list(informed) == list(plain)
    for name, options in informed.items():
        cfg = with_options(BASE, options)
        assert [part.type for part in cfg.model.positional_encoding.encodings] == ['Sine2DEncoding', 'RayEncoding']
        assert cfg.model.decoder == with_options(BASE, plain[name]).model.decoder


def test_no_two_rows_are_the_same_model():
    rows = [repr(with_options(BASE, options).model) for options in [{}, *ALL.values()]]
    assert len(set(rows)) == len(rows)


@pytest.mark.parametrize('name', AXES['queries'])
def test_number_of_queries(name):
    queries = MODELS.build(with_options(BASE, AXES['queries'][name]).model.scene_queries)
    assert queries.num_queries == (32 if name == 'SceneQueries, 32' else 48)


def test_variants_stay_as_they_are_when_used():
    before = copy.deepcopy(AXES)
    for options in ALL.values():
        with_options(BASE, options)
    assert before == AXES


def test_products():
    products = cross(AXES['cross-attention'], AXES['encoding'])
    assert len(products) == len(AXES['cross-attention']) * len(AXES['encoding'])
    cfg = with_options(BASE, products['JointSceneEncoder x rays'])
    assert (cfg.model.decoder.type, cfg.model.positional_encoding.type) == ('JointSceneEncoder', 'RayEncoding')
    with pytest.raises(ValueError, match="Cannot cross 'sine .* with 'sine .*: both replace model.positional_encoding"):
        cross(AXES['encoding'], AXES['encoding'])
    with pytest.raises(ValueError, match='both replace model.decoder.cross_attn_cfg or a part of it'):
        cross(dict(a={'model.decoder.cross_attn_cfg': {}}), dict(b={'model.decoder': {}}))


def test_as_typed():
    options = {'model.x': dict(_delete_=True, type='A', sizes=[1, 2], inner=dict(b=0.5))}
    assert as_typed(options) == "model.x=dict(type='A', sizes=[1, 2], inner=dict(b=0.5))"
