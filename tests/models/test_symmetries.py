"""What the whole model must not depend on: order of cameras, rest of the batch, denoising, how the frame is turned.

A car has no camera 0, and no x axis either. Which parts respect that, by construction:

- *Order of the cameras*: all but the camera ID and mmcv's deformable attention, both of which know cameras by number.
- *Turning the LiDAR frame about z*, with rig, world and reference points: images stay as they are; so do features, the
  2D sine and rays in the camera frame. ``SurroundDeformableAttention`` sees the points at the same pixels, refinement
  and a ``ray_aligned`` head give vectors along and across the rays. What breaks it is that queries are told x and y of
  their points, unless ``radial_positions`` tells them radius and height only.
"""
import math

import numpy as np
import pytest
import torch
from mmdet3d.utils import register_all_modules

from scene_qformer.models import SceneQFormer

register_all_modules(init_default_scope=True)

NUM_CAMERAS, HEIGHT, WIDTH = 5, 48, 80
DIMS, NUM_QUERIES, NUM_LAYERS = 16, 23, 2
SPACE = [-16., -16., -4., 16., 16., 4.]
GLOBAL = dict(type='GlobalAttention', num_heads=2)
SINE, RAYS = (dict(type=name, embed_dims=DIMS) for name in ('Sine2DEncoding', 'RayEncoding'))


def decoder(cross_attn_cfg, **kwargs):
    return dict(type='SceneQueryDecoder', num_layers=NUM_LAYERS, embed_dims=DIMS, self_attn_cfg=GLOBAL,
                cross_attn_cfg=cross_attn_cfg, feedforward_channels=17, refine_reference_points=True, **kwargs)


SURROUND = dict(type='SurroundDeformableAttention', num_heads=2, num_points=3, point_cloud_range=SPACE)
DECODERS = {
    'GlobalAttention': decoder(GLOBAL),
    'SurroundDeformableAttention': decoder(SURROUND),
    'JointSceneEncoder': dict(type='JointSceneEncoder', num_layers=NUM_LAYERS, embed_dims=DIMS, attn_cfg=GLOBAL,
                              feedforward_channels=17, refine_reference_points=True),
    'MultiheadAttention': decoder(dict(GLOBAL, type='MultiheadAttention')),
    'MultiScaleDeformableAttention': decoder(
        dict(type='MultiScaleDeformableAttention', num_heads=2, num_levels=NUM_CAMERAS), num_cameras=NUM_CAMERAS),
}


def build(decoder, encoding=None, ray_aligned=True, **kwargs):
    torch.manual_seed(0)
    model = SceneQFormer(
        backbone=dict(type='mmdet.ResNet', depth=18, base_channels=4, out_indices=(2, 3)),
        neck=dict(type='SingleLevelFPN', in_channels=[16, 32], out_channels=DIMS),
        positional_encoding=encoding or dict(type='SumEncoding', encodings=[SINE, RAYS]),
        scene_queries=dict(type='SceneQueries', num_queries=NUM_QUERIES, embed_dims=DIMS),
        decoder=decoder,
        projector=dict(type='MLPProjector', in_channels=DIMS, hidden_channels=13, out_channels=19),
        bbox_head=dict(type='SceneDetectionHead', num_classes=3, embed_dims=DIMS, point_cloud_range=SPACE,
                       ray_aligned=ray_aligned),
        **kwargs)
    model.init_weights()
    with torch.no_grad():
        for parameter in model.parameters():  # what starts with zeros would hide behind them
            if not parameter.any():
                parameter.normal_(std=0.1)
        for name, parameter in model.named_parameters():  # queries, and cameras, differ from the first layer on
            if name.endswith('_embedding.weight'):
                parameter.normal_()
        points = model.scene_queries.reference_points.weight
        points[:, :2] = (points[:, :2] - 0.5) * 0.6 + 0.5  # turned, and moved, they stay in the range
    return model.eval()


def rig(batch_size=2):
    """Metas of two unlike rigs: rings of cameras beside the origin, 90 degrees wide, each tilted on its own."""
    generator = np.random.default_rng(0)
    metas = []
    for _ in range(batch_size):
        matrices = []
        for yaw in np.arange(NUM_CAMERAS) * 2 * np.pi / NUM_CAMERAS + generator.uniform(-0.2, 0.2, NUM_CAMERAS):
            sine, cosine = np.sin(yaw), np.cos(yaw)
            lidar2cam = np.array([[sine, -cosine, 0, 0], [0, 0, -1, 0], [cosine, sine, 0, 0], [0, 0, 0, 1]])
            lidar2cam[:3, 3] = generator.uniform(-0.3, 0.3, 3)
            cam2img = np.array([[40., 0, 40, 0], [0, 40, 24, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
            matrices.append((lidar2cam, cam2img))
        lidar2cam, cam2img = (np.stack(kind) for kind in zip(*matrices))
        metas.append(dict(lidar2cam=lidar2cam, cam2img=cam2img, lidar2img=cam2img @ lidar2cam))
    return metas


def images(batch_size=2):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch_size, NUM_CAMERAS, 3, HEIGHT, WIDTH, generator=generator)


def tokens(model, imgs, metas):
    with torch.no_grad():
        return model.projector(model.decode_queries(imgs, metas).queries[-1])


@pytest.mark.parametrize('name', ['GlobalAttention', 'SurroundDeformableAttention', 'JointSceneEncoder',
                                  'MultiheadAttention'])
def test_order_of_the_cameras_does_not_matter(name):
    model, order = build(DECODERS[name]), [3, 0, 4, 1, 2]
    permuted = [{key: matrices[order] for key, matrices in meta.items()} for meta in rig()]
    before = tokens(model, images(), rig())
    assert torch.allclose(tokens(model, images()[:, order], permuted), before, atol=1e-5)
    # the test can fail: images that change places without their matrices do matter
    assert not torch.allclose(tokens(model, images()[:, order], rig()), before, atol=1e-3)


@pytest.mark.parametrize(('name', 'encoding'), [
    ('GlobalAttention', dict(type='CameraIDEncoding', embed_dims=DIMS, num_cameras=NUM_CAMERAS)),
    ('MultiScaleDeformableAttention', SINE),
])
def test_order_of_the_cameras_matters_to_parts_that_know_them_by_number(name, encoding):
    model, order = build(DECODERS[name], encoding), [3, 0, 4, 1, 2]
    permuted = [{key: matrices[order] for key, matrices in meta.items()} for meta in rig()]
    assert not torch.allclose(
        tokens(model, images()[:, order], permuted), tokens(model, images(), rig()), atol=1e-3)


@pytest.mark.parametrize('name', DECODERS)
def test_batched_equals_alone(name):
    model = build(DECODERS[name])
    batched = tokens(model, images(), rig())
    for index in range(2):
        alone = tokens(model, images()[index:index + 1], rig()[index:index + 1])
        assert torch.allclose(batched[index:index + 1], alone, atol=1e-5)
    assert not torch.allclose(batched[0], batched[1], atol=1e-2)


@pytest.mark.parametrize('name', DECODERS)
def test_denoising_queries_leave_the_learned_ones_unchanged(name):
    """Nor do image tokens, where they are encoded jointly, carry over what they stand for."""
    model = build(DECODERS[name], denoising=dict(
        type='QueryDenoising', embed_dims=DIMS, num_groups=2, point_cloud_range=SPACE))
    denoising = model.denoising([torch.rand(3, 3) * 8, torch.rand(2, 3) * 8])
    joined = model.decode_queries(images(), rig(), denoising)
    alone = model.decode_queries(images(), rig())
    assert joined.queries.shape[2] == 6 + NUM_QUERIES
    assert torch.allclose(joined.queries[:, :, 6:], alone.queries, atol=1e-5)
    assert torch.allclose(joined.reference_points[:, :, 6:], alone.reference_points, atol=1e-6)


def turn(angle):
    """The 4x4 matrix that turns points about z."""
    sine, cosine = math.sin(angle), math.cos(angle)
    return np.array([[cosine, -sine, 0, 0], [sine, cosine, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def predictions(model, angle=0.):
    """Class logits and codes of every layer, and the points they are relative to, after everything was turned."""
    metas = rig()
    for meta in metas:
        meta['lidar2cam'] = meta['lidar2cam'] @ turn(-angle)
        meta['lidar2img'] = meta['cam2img'] @ meta['lidar2cam']
    points, rotation = model.scene_queries.reference_points.weight, torch.tensor(turn(angle)[:2, :2]).float()
    unturned = points.detach().clone()
    with torch.no_grad():
        points[:, :2] = (points[:, :2] - 0.5) @ rotation.T + 0.5
        decoded = model.decode_queries(images(), metas)
        points.copy_(unturned)
        return *model.bbox_head(decoded.queries, decoded.reference_points), decoded.reference_points


def turned_codes(codes, angle):
    """Codes ``(..., 10)`` of the same boxes in a frame in which they appear turned by ``angle``."""
    codes, rotation = codes.clone(), torch.tensor(turn(angle)[:2, :2]).float()
    for x_and_y in ([0, 1], [7, 6], [8, 9]):  # centre, (cos, sin) of the heading, velocity
        codes[..., x_and_y] = codes[..., x_and_y] @ rotation.T
    return codes


def turns_alike(model, angle):
    before_scores, before_codes, before_points = predictions(model)
    scores, codes, points = predictions(model, angle)
    assert not torch.allclose(before_points[0], before_points[1], atol=1e-3)  # refinement does move them
    assert not torch.allclose(before_codes, codes, atol=0.1)
    return torch.allclose(scores, before_scores, atol=1e-4) and torch.allclose(
        codes, turned_codes(before_codes, angle), atol=1e-3)


@pytest.mark.parametrize('angle', [0.7, math.pi / 2, -2.5])
def test_predictions_turn_with_rig_and_world(angle):
    """Boxes, headings and velocities; scores stay. Centres to a millimetre."""
    camera_rays = dict(RAYS, frame='camera')
    assert turns_alike(
        build(decoder(SURROUND, radial_positions=True), dict(type='SumEncoding', encodings=[SINE, camera_rays])), angle)


def test_without_position_code_all_else_turns_too():
    model = build(decoder(SURROUND), SINE)
    torch.nn.init.zeros_(model.decoder.position_mlp[-1].weight)
    assert turns_alike(model, 0.7)


@pytest.mark.parametrize(('changes', 'encoding', 'ray_aligned'), [
    (dict(), SINE, True),  # queries are told x and y
    (dict(radial_positions=True), RAYS, True),  # rays in the LiDAR frame
    (dict(radial_positions=True), SINE, False),  # boxes along x and y
])
def test_what_is_told_the_direction_does_not_turn(changes, encoding, ray_aligned):
    assert not turns_alike(build(decoder(SURROUND, **changes), encoding, ray_aligned), 0.7)
