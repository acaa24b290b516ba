"""Build a scene Q-Former from Python."""
from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from mmdet3d.registry import MODELS
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope

from .models import SceneQFormer


def build_scene_qformer(embed_dims: int = 256,
                        num_queries: int = 512,
                        num_decoder_layers: int = 6,
                        llm_hidden_size: int = 4096,
                        num_cameras: int = 6) -> SceneQFormer:
    """The default design as a plain module that needs no metas: ``model(imgs)`` gives scene tokens.

    ResNet-50 to one stride-16 level, 2D sine and camera-ID encoding, a decoder with global attention and an MLP
    projector; randomly initialised, no part of it frozen.

    Args:
        embed_dims: Channels C; divisible by 4 and by the 8 heads.
        num_queries: Number Q of scene tokens.
        num_decoder_layers: Number of decoder layers.
        llm_hidden_size: Width D of the language model.
        num_cameras: The largest number of cameras N.

    Returns:
        A module in training mode: ``imgs (B, N, 3, H, W)``, normalised, to ``(B, num_queries, llm_hidden_size)``.
    """
    config = dict(
        type='SceneQFormer',
        backbone=dict(type='mmdet.ResNet', depth=50, out_indices=(2, 3)),
        neck=dict(type='SingleLevelFPN', in_channels=[1024, 2048], out_channels=embed_dims),
        positional_encoding=dict(
            type='SumEncoding',
            encodings=[
                dict(type='Sine2DEncoding', embed_dims=embed_dims),
                dict(type='CameraIDEncoding', embed_dims=embed_dims, num_cameras=num_cameras),
            ]),
        scene_queries=dict(type='SceneQueries', num_queries=num_queries, embed_dims=embed_dims),
        decoder=dict(type='SceneQueryDecoder', num_layers=num_decoder_layers, embed_dims=embed_dims),
        projector=dict(type='MLPProjector', in_channels=embed_dims, out_channels=llm_hidden_size))
    with DefaultScope.overwrite_default_scope('mmdet3d'), _quiet():
        model = MODELS.build(config)
        model.init_weights()
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """mmengine tells of every single tensor that it initialised."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
