"""A missing camera contributes nothing: not by its pixels, its matrices or its cells, in whatever the model is made of.

Two proofs for each variant. Whatever a missing camera holds, NaN included, nothing changes, bit by bit. And the model
does what it does with a rig that never had this camera, losses, gradients and batch norm's statistics included.
"""
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmdet3d.utils import register_all_modules
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import nn
from two_cameras import CAM2IMG, LIDAR2CAM

register_all_modules(init_default_scope=True)

DEFAULT = Path(__file__).parents[2] / 'configs' / 'scene_qformer' / 'scene-qformer_r50_8xb4-24e_nus-336.py'
NUM_CAMERAS, LOST = 3, 2
SMALL = {
    'model.backbone': dict(_delete_=True, type='mmdet.ResNet', depth=18, base_channels=4, out_indices=(2, 3)),
    'model.neck.in_channels': [16, 32],
    'model.scene_queries.num_queries': 11,
    'model.decoder.num_layers': 2,
    'model.decoder.feedforward_channels': 13,
    'model.projector.out_channels': 17,
}
SURROUND = dict(_delete_=True, type='SurroundDeformableAttention')
FPN = {
    'model.neck': dict(_delete_=True, type='mmdet.FPN', in_channels=[16, 32], out_channels=256, num_outs=2),
}
MSDA = dict(_delete_=True, type='MultiScaleDeformableAttention')
ID = dict(type='CameraIDEncoding', num_cameras=NUM_CAMERAS)
CROSS, QUERIES, ENCODING = 'model.decoder.cross_attn_cfg', 'model.scene_queries', 'model.positional_encoding'
GROUPS = dict(
    _delete_=True, type='GroupedSceneQueries', blind=dict(local=['whole']),
    groups=dict(whole=dict(num_queries=7), local=dict(type='CameraGridQueries', grid=(2, 3), num_cameras=NUM_CAMERAS)))
PROPOSALS = dict(type='ProposalQueries', num_queries=16, num_proposals=11)
SELECTED = dict(type='SelectedSceneQueries', num_queries=16, positional_encoding=ID)
JOINT = dict(_delete_=True, type='JointSceneEncoder', num_layers=2, feedforward_channels=13,
             attn_cfg=dict(type='GlobalAttention', num_heads=8))
BLIP2 = dict(_delete_=True, type='Blip2QueryDecoder', num_layers=2, embed_dims=256, num_heads=8, drop=0., attn_drop=0.,
             feedforward_channels=13)
VARIANTS = {
    'GlobalAttention': {},
    'MultiheadAttention': {f'{CROSS}.type': 'MultiheadAttention',
                           'model.decoder.self_attn_cfg.type': 'MultiheadAttention'},
    'SurroundDeformableAttention, DefaultSampling': {CROSS: SURROUND},
    **{f'SurroundDeformableAttention, {name}': {CROSS: dict(SURROUND, operator=dict(type=name))}
       for name in ('MMCVSampling', 'VectorizedSampling', 'ReferenceSampling')},
    'SurroundDeformableAttention, FPN': {CROSS: dict(SURROUND, num_levels=2), **FPN},
    'MultiScaleDeformableAttention': {CROSS: dict(MSDA, num_levels=3), 'model.decoder.num_cameras': 3},
    'MultiScaleDeformableAttention, FPN': {CROSS: dict(MSDA, num_levels=6), 'model.decoder.num_cameras': 3, **FPN},
    'JointSceneEncoder': {'model.decoder': JOINT},
    'Blip2QueryDecoder': {'model.decoder': BLIP2},
    'RayEncoding': {ENCODING: dict(_delete_=True, type='RayEncoding', center_range=3.)},
    'DepthBinEncoding': {ENCODING: dict(_delete_=True, type='DepthBinEncoding', num_bins=5)},
    'adaptive': {f'{QUERIES}.type': 'AdaptiveSceneQueries'},
    'selected': {QUERIES: SELECTED},
    'proposals': {QUERIES: PROPOSALS},
    'proposals, deformable': {QUERIES: PROPOSALS, CROSS: SURROUND},
    'residual': {QUERIES: dict(_delete_=True, type='ResidualSceneQueries', queries=dict(
        type='SceneQueries', num_queries=11))},
    'camera grid': {QUERIES: GROUPS},
    'camera grid, joint': {QUERIES: GROUPS, 'model.decoder': JOINT},
    'camera grid, BLIP-2': {QUERIES: dict(GROUPS, blind={}), 'model.decoder': BLIP2},
    'patches': {QUERIES: dict(_delete_=True, type='PatchQueries', positional_encoding=ID)},
    'patches, no decoder': {
        QUERIES: dict(_delete_=True, type='PatchQueries', positional_encoding=ID, grid=(2, 2)),
        'model.decoder': dict(_delete_=True, type='NoDecoder')},
    'denoising': {'model.denoising': dict(type='QueryDenoising', num_groups=1)},
    'denoising of proposals': {'model.denoising': dict(type='QueryDenoising', num_groups=1), QUERIES: PROPOSALS},
}
# mmcv's has a weight for each camera, which is lost with it; another number of cameras is another model.
FIXED_RIG = [name for name in VARIANTS if name.startswith('MultiScale')]
# These have queries for each camera, so that a smaller rig has fewer; they come last.
PER_CAMERA = [name for name in VARIANTS if name.startswith(('camera grid', 'patches'))]


def build(name):
    cfg = Config.fromfile(DEFAULT)
    cfg.merge_from_dict(SMALL)
    cfg.merge_from_dict({f'{ENCODING}.encodings': [dict(type='Sine2DEncoding'), ID]})
    cfg.merge_from_dict(VARIANTS[name])
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.endswith(('gate', 'attention.attn.out_proj.weight', 'sampling_offsets.weight',
                             'attention_weights.weight', 'place_conv.weight')):
                nn.init.normal_(parameter, std=0.1)  # these start at zero, and would hide what comes through them
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.
        elif isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.
    if hasattr(model.backbone, 'norm_eval'):
        model.backbone.norm_eval = False  # batch norm in training counts every image that it sees
    return model


def rig():
    """Forwards, to the left, backwards: (3, 4, 4) each."""
    turns = []
    for cosine, sine in ((1, 0), (0, 1), (-1, 0)):
        turns.append(LIDAR2CAM @ torch.tensor([[cosine, sine, 0, 0], [-sine, cosine, 0, 0], [0, 0, 1, 0],
                                               [0, 0, 0, 1.]]))
    lidar2cam, cam2img = torch.stack(turns).numpy(), CAM2IMG.expand(3, 4, 4).numpy()
    return dict(cam2img=cam2img, lidar2cam=lidar2cam, lidar2img=cam2img @ lidar2cam)


def batch(mask=(True, True, False), num_cameras=NUM_CAMERAS, content=None):
    """Two frames of 48x64; ``content`` fills image and matrices of the last camera; ``mask`` is of both frames."""
    generator = torch.Generator().manual_seed(3)
    imgs = torch.randn(2, NUM_CAMERAS, 3, 48, 64, generator=generator)
    matrices = {name: matrix.copy() for name, matrix in rig().items()}
    if content is not None:
        imgs[:, LOST] = content
        for matrix in matrices.values():
            matrix[LOST] = content
    boxes = torch.rand(5, 9, generator=generator) * 20 + 0.5
    boxes[:, 2] = -boxes[:, 5] / 2
    boxes[0, :2], boxes[1, :2], boxes[2, :2] = torch.tensor([10., 1.]), torch.tensor([-9., 1]), torch.tensor([1., 9.])
    samples = []
    for token in ('one', 'two'):
        meta = {name: matrix[:num_cameras] for name, matrix in matrices.items()}
        if mask is not None:
            meta['camera_mask'] = np.array(mask)
        samples.append(Det3DDataSample(
            metainfo=dict(meta, sample_token=token, box_type_3d=LiDARInstance3DBoxes),
            gt_instances_3d=InstanceData(bboxes_3d=LiDARInstance3DBoxes(boxes, box_dim=9),
                                         labels_3d=torch.tensor([0, 4, 9, 2, 1]))))
    return dict(imgs=imgs[:, :num_cameras]), samples


def outcome(model, inputs, samples):
    """All that comes out of a model: losses, gradients, statistics, tokens, boxes."""
    model.zero_grad()
    torch.manual_seed(1)
    losses = model.train()(inputs, samples, mode='loss')
    sum(value for value in losses.values()).backward()
    found = {f'loss {key}': value.detach() for key, value in losses.items()}
    found.update({f'gradient {key}': value.grad.clone() for key, value in model.named_parameters()
                  if value.grad is not None})
    found.update({f'statistics {key}': value.clone() for key, value in model.named_buffers()})
    model.eval()
    with torch.no_grad():
        found['tokens'] = model(inputs, samples)
        for sample in model(inputs, samples, mode='predict'):
            boxes = sample.pred_instances_3d
            found[f'boxes {sample.sample_token}'] = boxes.bboxes_3d.tensor
            found[f'scores {sample.sample_token}'] = boxes.scores_3d
    return found


@pytest.mark.parametrize('name', VARIANTS)
def test_whatever_a_missing_camera_holds(name):
    state = build(name).state_dict()

    def run(**options):
        model = build(name)
        model.load_state_dict(state)
        return outcome(model, *batch(**options))

    expected = run()
    assert all(value.isfinite().all() for value in expected.values())
    for content in (float('nan'), -1e30):
        found = run(content=content)
        assert found.keys() == expected.keys()
        different = [key for key, value in found.items() if not torch.equal(value, expected[key])]
        assert not different, f'{content}: {different}'


@pytest.mark.parametrize('name', [name for name in VARIANTS if name not in FIXED_RIG + PER_CAMERA])
def test_as_a_rig_without_that_camera(name):
    masked = outcome(build(name), *batch())
    smaller = outcome(build(name), *batch(mask=None, num_cameras=NUM_CAMERAS - 1))
    assert masked.keys() == smaller.keys()
    for key, value in smaller.items():
        scale = value.abs().max().clamp(min=1e-2).item() if value.is_floating_point() else 1
        torch.testing.assert_close(masked[key], value, rtol=0, atol=2e-5 * scale,
                                   msg=lambda text, key=key: f'{key}: {text}')


@pytest.mark.parametrize('name', PER_CAMERA)
def test_queries_of_a_missing_camera_are_not_looked_at(name):
    """The others become what they become in a rig without that camera."""
    model = build(name).eval()
    with torch.no_grad():
        masked, smaller = model(*batch()), model(*batch(mask=None, num_cameras=NUM_CAMERAS - 1))
    assert masked.shape[1] > smaller.shape[1]
    torch.testing.assert_close(masked[:, :smaller.shape[1]], smaller, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('name', VARIANTS)
def test_a_mask_that_hides_nobody(name):
    found, expected = (outcome(build(name), *batch(mask=mask)) for mask in ((True, True, True), None))
    assert all(torch.equal(value, expected[key]) for key, value in found.items())
    hidden = outcome(build(name), *batch())
    assert not torch.equal(hidden['tokens'], expected['tokens'])  # or the tests above would show nothing


@pytest.mark.parametrize('name', [name for name in VARIANTS if 'denoising' not in name])
def test_each_frame_has_its_own_mask(name):
    """One frame lacks two cameras, the other none: each is as it is alone."""
    model = build(name).eval()
    inputs, samples = batch(mask=None)
    samples[0].set_metainfo(dict(camera_mask=np.array([False, True, False])))
    with torch.no_grad():
        both = model(inputs, samples)
        for index, sample in enumerate(samples):
            alone = model(dict(imgs=inputs['imgs'][index:index + 1]), [sample])
            torch.testing.assert_close(both[index:index + 1], alone, rtol=1e-5, atol=1e-5)


def test_too_few_cells_for_the_proposals():
    """Twelve cells of one camera, 16 - 11 + 12: what is over stays empty and unseen."""
    cfg = dict(VARIANTS['proposals'], **{QUERIES: dict(type='ProposalQueries', num_queries=23, num_proposals=19)})
    VARIANTS['more proposals'] = cfg
    try:
        model = build('more proposals').eval()
    finally:
        del VARIANTS['more proposals']
    with torch.no_grad():
        inputs, samples = batch(mask=(True, False, False))
        query_set = model.decode_queries(inputs['imgs'], [sample.metainfo for sample in samples]).query_set
    assert query_set.padding_mask.sum(1).tolist() == [7, 7]
    assert not query_set.query[query_set.padding_mask].any()
    assert (query_set.reference_points[query_set.padding_mask] == 0.5).all()


def test_no_camera_at_all():
    model = build('GlobalAttention')
    with pytest.raises(ValueError, match='All 3 cameras of sample one are missing'):
        model(*batch(mask=(False, False, False)))


@pytest.mark.parametrize('mask', [(True, False), np.array([1, 1, 0]), np.ones((1, 3), dtype=bool)])
def test_masks_of_another_shape(mask):
    model = build('GlobalAttention')
    with pytest.raises(ValueError, match=r'camera_mask of sample one as \(3,\) bool.*got'):
        model(*batch(mask=mask))
