"""Variants of cross-attention, encoding and queries: each one config entry replaced, ``type`` and its arguments.

The base is derived from a config as it is when this runs, so sizes, data, losses and schedule are that config's. What
it has of the three parts is replaced by the same base for all: deformable attention around projected 3D points, 2D
sine, one unified set of learned queries. What moves cameras in training is left out, for all alike: some variants know
cameras by their number, and could not follow.
"""
from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import product
from typing import Any

from mmengine.config import Config

Options = dict[str, Any]  # config entries to replace, as for Config.merge_from_dict
Axes = dict[str, dict[str, Options]]

BASE_NAME = 'SurroundDeformableAttention, Sine2DEncoding, SceneQueries'

# Steps of training after which a camera's matrices are not those of its number any more. In a turned scene azimuths are
# off by the angle. In a mirrored one left and right cameras trade places, so that each number still looks its way, but
# no rig is quite symmetric: that of the embedded set is off by 2 degrees, at the back by 4.
MOVING_CAMERAS = ('RandomMirrorScene', 'RandomRotateScaleScene', 'RandomWarpSurroundImages')


def base_options(cfg: Config) -> Options:
    """What makes a config the base: the three parts, and in training the rig as it was calibrated."""
    model = cfg.model
    return {
        'train_dataloader.dataset.pipeline': [
            step for step in cfg.train_dataloader.dataset.pipeline if step.type not in MOVING_CAMERAS],
        'model.decoder.cross_attn_cfg': dict(
            _delete_=True, type='SurroundDeformableAttention', num_heads=8, num_points=4,
            point_cloud_range=list(model.bbox_head.point_cloud_range)),
        'model.positional_encoding': dict(_delete_=True, type='Sine2DEncoding', embed_dims=model.decoder.embed_dims),
        'model.scene_queries': dict(
            _delete_=True, type='SceneQueries', num_queries=model.scene_queries.num_queries,
            embed_dims=model.decoder.embed_dims, concentration=model.scene_queries.get('concentration', 1.)),
    }


def axes(cfg: Config) -> Axes:
    """Axis to variant to what it replaces in the base.

    Args:
        cfg: The config that the base is derived from; the proposal queries are those that it has, if it has any.
    """
    model, head = cfg.model, cfg.model.bbox_head
    layers, heads = model.decoder.num_layers, model.decoder.self_attn_cfg.num_heads
    shared = dict(embed_dims=model.decoder.embed_dims)
    num_cameras = len(cfg.train_dataloader.dataset.cam_names)
    num_queries = model.scene_queries.num_queries
    placed = dict(point_cloud_range=list(head.point_cloud_range))
    spread = dict(concentration=model.scene_queries.get('concentration', 1.))
    columns = max(num_queries // (4 * num_cameras), 1)  # of two rows a camera, for half of the queries

    def cross_attention(**attention) -> Options:
        return {'model.decoder.cross_attn_cfg': dict(_delete_=True, **attention)}

    def encoding(**encoding) -> Options:
        return {'model.positional_encoding': dict(_delete_=True, **encoding)}

    def queries(**queries) -> Options:
        return {'model.scene_queries': dict(_delete_=True, **queries)}

    sine = dict(type='Sine2DEncoding', **shared)
    rays = dict(type='RayEncoding', **shared, frame='lidar', center_range=4.)  # metres
    depth_bins = dict(type='DepthBinEncoding', **shared)
    camera_id = dict(type='CameraIDEncoding', **shared, num_cameras=num_cameras)
    encodings = {
        'sine + camera ID': encoding(type='SumEncoding', encodings=[sine, camera_id]),
        'rays': encoding(**rays),
        'sine + rays': encoding(type='SumEncoding', encodings=[sine, rays]),
        'depth bins': encoding(**depth_bins),
        'sine + depth bins': encoding(type='SumEncoding', encodings=[sine, depth_bins]),
    }
    joint = {'model.decoder': dict(
        _delete_=True, type='JointSceneEncoder', num_layers=layers, **shared,
        attn_cfg=dict(type='GlobalAttention', num_heads=heads),
        feedforward_channels=model.decoder.feedforward_channels, ffn_drop=0.,
        refine_reference_points=model.decoder.get('refine_reference_points', False))}
    # None of these projects 3D points, as the base does.
    attentions = {
        'GlobalAttention': cross_attention(type='GlobalAttention', num_heads=heads),
        'mmcv MultiheadAttention': cross_attention(type='MultiheadAttention', num_heads=heads),
        'mmcv MultiScaleDeformableAttention': cross_attention(
            type='MultiScaleDeformableAttention', num_heads=8, num_levels=num_cameras, dropout=0.),
        'JointSceneEncoder': joint,
        'Blip2QueryDecoder': {'model.decoder': dict(
            _delete_=True, type='Blip2QueryDecoder', num_layers=2 * layers, **shared,
            memory_dims=shared['embed_dims'], num_heads=heads, attn_drop=0., drop=0.,
            feedforward_channels=model.decoder.feedforward_channels, encode_reference_points=True)},
    }
    under_rays = encodings['sine + rays']
    proposals = model.scene_queries if model.scene_queries.type == 'ProposalQueries' else dict(
        type='ProposalQueries', num_queries=num_queries, num_proposals=num_queries // 2, **shared, **placed, **spread)
    groups = dict(
        det=dict(num_queries=num_queries * 3 // 4, **spread), ego=dict(num_queries=1),
        map=dict(num_queries=num_queries - num_queries * 3 // 4 - 1))
    return {
        'cross-attention': attentions,
        # The base projects 3D points, so it knows where cameras look whatever the encoding tells. Attention that does
        # not project knows it from the encoding alone, and from 2D sine, not even which camera is which. (mmcv's
        # deformable class knows that: cameras are its levels.)
        'cross-attention, under sine + rays': {name: {**options, **under_rays} for name, options in attentions.items()},
        'encoding': encodings,
        'encoding, under GlobalAttention': {  # sine + rays are in the axis above
            name: {**attentions['GlobalAttention'], **options} for name, options in encodings.items()
            if options is not under_rays},
        'queries': {
            'SceneQueries, 32': queries(type='SceneQueries', num_queries=32, **shared, **spread),
            'ProposalQueries': queries(**proposals),
            'AdaptiveSceneQueries': queries(type='AdaptiveSceneQueries', num_queries=num_queries, **shared, **spread),
            'SelectedSceneQueries': queries(  # by rays: to place a query takes an encoding that knows the cameras
                type='SelectedSceneQueries', num_queries=num_queries, **shared, positional_encoding=rays),
            'CameraGridQueries': queries(type='CameraGridQueries', grid=[2, 2 * columns], **shared, **placed,
                                         num_cameras=num_cameras),
            'groups: whole + local': queries(
                type='GroupedSceneQueries', **shared,
                groups=dict(
                    whole=dict(num_queries=num_queries - 2 * columns * num_cameras, **spread),
                    local=dict(type='CameraGridQueries', grid=[2, columns], num_cameras=num_cameras, **placed))),
            'groups: det, ego, map': {
                **queries(type='GroupedSceneQueries', **shared, groups=groups, blind=dict(det=['ego', 'map'])),
                'model.bbox_head': dict(query_group='det')},
            'ResidualSceneQueries': queries(
                type='ResidualSceneQueries', **shared,
                queries=dict(type='SceneQueries', num_queries=num_queries, **spread)),
        },
    }


def cross(first: Mapping[str, Options], second: Mapping[str, Options]) -> dict[str, Options]:
    """Every variant of one axis with every variant of another.

    Raises:
        ValueError: If two variants replace the same entry, or one an entry inside the other's.
    """
    products = {}
    for (name, options), (other, changes) in product(first.items(), second.items()):
        clash = [(key, also) for key in options for also in changes
                 if f'{key}.'.startswith(f'{also}.') or f'{also}.'.startswith(f'{key}.')]
        if clash:
            raise ValueError(f'Cannot cross {name!r} with {other!r}: both replace {clash[0][0]} or a part of it.')
        products[f'{name} x {other}'] = {**options, **changes}
    return products


def with_options(cfg: Config, options: Options) -> Config:
    """A copy of a config with entries replaced."""
    changed = copy.deepcopy(cfg)
    changed.merge_from_dict(copy.deepcopy(options))  # merging takes `_delete_` out
    return changed


def as_typed(options: Options) -> str:
    """Options as one would write them in a config."""
    return ', '.join(f'{key}={_as_code({k: v for k, v in value.items() if k != "_delete_"})}'
                     for key, value in options.items())


def _as_code(value: object) -> str:
    if isinstance(value, Mapping):
        return 'dict(' + ', '.join(f'{key}={_as_code(item)}' for key, item in value.items()) + ')'
    if isinstance(value, list):
        return '[' + ', '.join(map(_as_code, value)) + ']'
    return repr(value)
