"""A scene Q-Former that is small enough to encode nine frames in a second, with its config, weights and data."""
from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from mmdet3d.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope

from scene_qformer.datasets.nuscenes_infos import create_info_files
from tests.datasets.small_nuscenes import write_small_nuscenes

BASE = Path(__file__).parents[1] / 'configs/scene_qformer/scene-qformer_tiny_synthetic.py'
NUM_QUERIES, WIDTH, LLM_WIDTH = 13, 16, 11
TOKEN_WIDTH = WIDTH + 32  # of the queries with their places, which the projector reads
SIZE = (224, 126)  # width, height to which images are brought


class SmallEncoder(NamedTuple):
    root: Path  # 6 training and 3 validation frames of six cameras, 296x184
    config: Path
    checkpoint: Path

    @property
    def cfg(self) -> Config:
        return Config.fromfile(str(self.config))


def make_small_encoder(folder: Path) -> SmallEncoder:
    root = folder / 'nuscenes'
    write_small_nuscenes(root, 'v1.0-mini', ('scene-0061', 'scene-0553', 'scene-0103'))
    create_info_files(root, 'v1.0-mini')
    config = folder / 'small_encoder.py'
    attention = dict(type='GlobalAttention', num_heads=2)
    config.write_text(f'''
_base_ = '{BASE}'
model = dict(
    backbone=dict(base_channels=4),
    neck=dict(in_channels=[8, 16, 32], out_channels={WIDTH}),
    positional_encoding=dict(embed_dims={WIDTH}),
    scene_queries=dict(num_queries={NUM_QUERIES}, num_proposals=7, embed_dims={WIDTH}),
    decoder=dict(num_layers=2, embed_dims={WIDTH}, self_attn_cfg={attention}, cross_attn_cfg=dict(num_heads=2),
                 feedforward_channels=19),
    projector=dict(in_channels={TOKEN_WIDTH}, hidden_channels=17, out_channels={LLM_WIDTH}),
    bbox_head=dict(embed_dims={WIDTH}),
    denoising=dict(embed_dims={WIDTH}))
data_root = '{root}'
test_pipeline = [
    dict(type='LoadSurroundImages', size={SIZE}, cache=True),
    dict(type='CropSurroundImages', size=({SIZE[0]}, 64), anchor=(0.5, 0.66)),
    dict(type='PackSceneInputs', keys=('img', )),
]
train_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = dict(dataset=dict(data_root=data_root, pipeline=test_pipeline))
''')
    return SmallEncoder(root, config, save_weights(config, folder / 'encoder.pth', seed=3))


def save_weights(config: Path, path: Path, seed: int) -> Path:
    """Weights at random, the same for the same seed."""
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        model = MODELS.build(Config.fromfile(str(config)).model)
    meta = dict(dataset_meta=dict(classes=('car', )))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return path
