"""Small models of several kinds with weights as after some training, random images, and metas of a rig."""
from __future__ import annotations

import copy

import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmdet3d.utils import register_all_modules
from torch import Tensor, nn

from scene_qformer.models import SceneQFormer
from scene_qformer.random_batch import camera_ring

register_all_modules(init_default_scope=True)

C = 24
GLOBAL = dict(type='GlobalAttention', num_heads=3, attn_drop=0.1, proj_drop=0.1)
SURROUND = dict(type='SurroundDeformableAttention', num_heads=3, num_points=2)
ENCODINGS = [dict(type='Sine2DEncoding', embed_dims=C), dict(type='CameraIDEncoding', embed_dims=C, num_cameras=6)]
RAYS = dict(type='RayEncoding', embed_dims=C)
LEARNED = dict(type='SceneQueries', num_queries=11, embed_dims=C)
PROPOSALS = dict(type='ProposalQueries', num_queries=11, num_proposals=5, embed_dims=C, center_head=dict(num_classes=3))
FPN = dict(type='mmdet.FPN', in_channels=[16, 32], out_channels=C, num_outs=2)
KINDS: dict[str, dict] = {
    'learned, global': {},
    'proposals, global, refined': dict(scene_queries=PROPOSALS, decoder=dict(refine_reference_points=True),
                                       token_position=dict(type='PolarTokenPosition'),
                                       projector=dict(in_channels=C + 32)),
    'proposals, deformable': dict(scene_queries=PROPOSALS, decoder=dict(cross_attn_cfg=SURROUND)),
    'rays, no projector': dict(positional_encoding=dict(encodings=[*ENCODINGS, RAYS]), projector=None),
    'two levels': dict(neck=FPN),
    'joint encoder': dict(decoder=dict(type='JointSceneEncoder', num_layers=2, embed_dims=C, attn_cfg=GLOBAL,
                                       feedforward_channels=17)),
    'groups, masked': dict(scene_queries=dict(
        type='GroupedSceneQueries', embed_dims=C, token_groups=['map'], blind=dict(det=['map']),
        groups=dict(det=dict(num_queries=5), map=dict(num_queries=7)))),
    "mmcv's attention": dict(decoder=dict(cross_attn_cfg=dict(type='MultiheadAttention', num_heads=3))),
    'patches, no decoder': dict(scene_queries=dict(type='PatchQueries', embed_dims=C, num_cells=12, grid=(2, 3),
                                                   positional_encoding=ENCODINGS[0]),
                                decoder=dict(type='NoDecoder')),
}


def build(kind: str = 'learned, global', seed: int = 0) -> SceneQFormer:
    config = dict(
        type='SceneQFormer',
        backbone=dict(type='mmdet.ResNet', depth=18, base_channels=4, out_indices=(2, 3)),
        neck=dict(type='SingleLevelFPN', in_channels=[16, 32], out_channels=C, norm_cfg=dict(type='BN')),
        positional_encoding=dict(type='SumEncoding', encodings=ENCODINGS),
        scene_queries=LEARNED,
        decoder=dict(type='SceneQueryDecoder', num_layers=3, embed_dims=C, self_attn_cfg=GLOBAL, cross_attn_cfg=GLOBAL,
                     feedforward_channels=17),
        projector=dict(type='MLPProjector', in_channels=C, hidden_channels=13, out_channels=19),
        bbox_head=dict(type='SceneDetectionHead', num_classes=3, embed_dims=C),
        data_preprocessor=dict(type='Det3DDataPreprocessor', mean=[10.] * 3, std=[20.] * 3, pad_size_divisor=16))
    for part, changes in KINDS[kind].items():
        whole = changes is None or 'type' in changes
        config[part] = copy.deepcopy(changes if whole else {**config[part], **changes})
    torch.manual_seed(seed)
    model = MODELS.build(config)
    model.init_weights()
    stir(model)
    return model.eval()


@torch.no_grad()
def stir(model: nn.Module) -> None:
    """As training would leave it: no branch is zero, no statistics are 0 and 1, tokens depend on the images."""
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.weight.uniform_(0.5, 1.5)
            part.bias.normal_(std=0.2)
            part.running_mean.normal_(std=0.2)
            part.running_var.uniform_(0.5, 2)
        elif isinstance(part, nn.Linear):
            part.bias.normal_(std=0.1)
        elif isinstance(part, nn.MultiheadAttention):
            part.in_proj_bias.normal_(std=0.1)


def images(batch_size: int = 1, num_cameras: int = 2, height: int = 48, width: int = 80, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch_size, num_cameras, 3, height, width, generator=generator)


def samples(imgs: Tensor) -> list[Det3DDataSample]:
    """With the matrices of a ring of cameras, another focal length in each sample."""
    rigs = [camera_ring(imgs.shape[1], (imgs.shape[-1] + 7 * index, imgs.shape[-2])) for index in range(len(imgs))]
    return [Det3DDataSample(metainfo=dict(rig, sample_token=f'{index}', box_type_3d=LiDARInstance3DBoxes))
            for index, rig in enumerate(rigs)]


def relative_error(got: Tensor, expected: Tensor) -> float:
    """Of the whole: norm of the difference over the norm."""
    return float((got - expected).norm() / expected.norm())
