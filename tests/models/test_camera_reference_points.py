from types import SimpleNamespace

import pytest
import torch
from mmcv.ops import MultiScaleDeformableAttention

from scene_qformer.models import GlobalAttention, SceneQueryDecoder, SurroundDeformableAttention
from scene_qformer.models.camera_reference_points import CameraReferencePoints, wants_camera_points
from scene_qformer.models.surround_memory import flatten_memory

NUM_CAMERAS, LEVELS = 3, [(5, 7), (3, 4)]


def build(type_name='MultiScaleDeformableAttention', num_levels=6, **kwargs):
    torch.manual_seed(1)
    decoder = SceneQueryDecoder(
        num_layers=2,
        embed_dims=16,
        self_attn_cfg=dict(type='GlobalAttention', num_heads=2),
        cross_attn_cfg=dict(type=type_name, num_heads=2, num_levels=num_levels, num_points=3, dropout=0.),
        feedforward_channels=17,
        ffn_drop=0.,
        **{'num_cameras': NUM_CAMERAS, **kwargs})
    decoder.init_weights()
    for layer in decoder.layers:  # the same for all queries at first
        torch.nn.init.normal_(layer.cross_attn.sampling_offsets.weight, std=0.3)
        torch.nn.init.normal_(layer.cross_attn.attention_weights.weight, std=0.3)
    return decoder


def inputs(num_cameras=NUM_CAMERAS):
    generator = torch.Generator().manual_seed(0)
    feats = [torch.randn(2, num_cameras, 16, *shape, generator=generator) for shape in LEVELS]
    encodings = [torch.randn(1, num_cameras, 16, *shape, generator=generator) for shape in LEVELS]
    query = torch.randn(2, 11, 16, generator=generator)
    reference_points = torch.rand(2, 11, 3, generator=generator)
    return dict(query=query, reference_points=reference_points, **flatten_memory(feats, encodings))


@pytest.mark.parametrize('refine', [False, True])
def test_mmcv_deformable_attention_equals_calling_it_by_hand(refine):
    """Layer by layer, with a mask among the queries and padded keys."""
    decoder, data = build(refine_reference_points=refine).eval(), inputs()
    if refine:
        for refinement in decoder.refinements:
            torch.nn.init.normal_(refinement.weight)
    padding = torch.zeros(2, data['value'].shape[1], dtype=torch.bool)
    padding[1, 40:] = True
    blind = torch.ones(11, 11).triu(1).bool()
    states, points = decoder(**data, attn_mask=blind, key_padding_mask=padding)

    query, seen_from = data['query'], data['reference_points']
    for index, layer in enumerate(decoder.layers):
        pos = decoder.encode_position(seen_from, torch.float32)
        logits = pos @ decoder.camera_points.projection.weight.T + decoder.camera_points.projection.bias
        in_cameras = logits.sigmoid().view(2, 11, 3, 1, 2).expand(-1, -1, -1, 2, -1).reshape(2, 11, 6, 2)
        query = layer.norms[0](layer.self_attn(query, query_pos=pos, key_pos=pos, attn_mask=blind))
        twin = MultiScaleDeformableAttention(16, num_heads=2, num_levels=6, num_points=3, dropout=0., batch_first=True)
        twin.load_state_dict(layer.cross_attn.state_dict())
        query = layer.norms[1](twin(
            query,
            value=data['value'],
            query_pos=pos,
            key_padding_mask=padding,
            reference_points=in_cameras,
            spatial_shapes=torch.tensor(LEVELS * 3),
            level_start_index=torch.tensor([0, 35, 47, 82, 94, 129])))
        query = layer.norms[2](layer.ffn(query))
        assert torch.allclose(states[index], query, atol=1e-5)
        if refine:
            seen_from = points[index]
    if not refine:  # boxes are relative to the 3D points
        assert all(torch.equal(layer, data['reference_points']) for layer in points)


@pytest.mark.parametrize('name', ['MultiScaleDeformableAttention', 'mmengine.MultiScaleDeformableAttention',
                                  'mmcv.ops.MultiScaleDeformableAttention'])
def test_the_class_is_mmcvs_own_however_it_is_named(name):
    decoder = build(name)
    assert all(type(layer.cross_attn) is MultiScaleDeformableAttention for layer in decoder.layers)
    assert decoder(**inputs())[0].shape == (2, 2, 11, 16)


def test_levels_of_a_camera_share_its_point():
    points = CameraReferencePoints(8, num_cameras=3, num_levels=6)
    out = points(torch.randn(2, 5, 8))
    assert out.shape == (2, 5, 6, 2) and out.min() > 0 and out.max() < 1
    assert torch.equal(out[:, :, 0::2], out[:, :, 1::2])
    assert not torch.allclose(out[:, :, 0], out[:, :, 2], atol=1e-3)


def test_points_keep_their_precision_in_mixed_precision():
    points, query_pos = CameraReferencePoints(8, num_cameras=2, num_levels=2), torch.randn(2, 5, 8)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        mixed = points(query_pos)
    assert torch.equal(mixed, points(query_pos))


def test_gradients_reach_the_points():
    decoder = build()
    decoder(**inputs())[0].square().mul(torch.linspace(0, 1, 16)).sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in decoder.camera_points.parameters())


def test_only_mmcvs_deformable_attention_wants_them():
    class Derived(MultiScaleDeformableAttention):
        pass

    assert wants_camera_points(Derived(16, num_heads=2))
    assert not wants_camera_points(SurroundDeformableAttention(16, num_heads=2))
    assert not wants_camera_points(GlobalAttention(16, num_heads=2))
    assert SceneQueryDecoder(num_layers=1, embed_dims=16).camera_points is None


def test_says_what_to_set():
    with pytest.raises(ValueError, match=r'num_levels=4 is no multiple of the 3 cameras: set num_levels.*\(3 for one'):
        build(num_levels=4)
    with pytest.raises(ValueError, match='num_levels=3, but the memory has 6 levels.*set num_levels=6.*now 3'):
        build(num_levels=3)(**inputs())
    with pytest.raises(ValueError, match=r'not 6 times the same 1 levels: set num_cameras of the decoder'):
        build(num_cameras=6)(**inputs())
    without = {name: value for name, value in inputs().items() if name not in ('spatial_shapes', 'level_start_index')}
    with pytest.raises(ValueError, match=r'needs spatial_shapes.*got None.*flatten_memory'):
        build()(**without)


def test_says_that_mmcv_lacks_cuda(monkeypatch):
    monkeypatch.setattr('scene_qformer.models.camera_reference_points.MMCV_HAS_CUDA', False)
    points = CameraReferencePoints(8, num_cameras=1, num_levels=1)
    with pytest.raises(RuntimeError, match='mmcv was built without CUDA.*or use SurroundDeformableAttention'):
        points.check_memory(SimpleNamespace(is_cuda=True), torch.tensor([[3, 5]]))
    points.check_memory(torch.zeros(1, 15, 8), torch.tensor([[3, 5]]))
