import pytest
import torch
import torch.nn.functional as F
from mmdet3d.registry import MODELS
from torch import nn

from scene_qformer.models import GlobalAttention, SceneQueryDecoder
from scene_qformer.models.attention_maps import record_attention, recorder
from scene_qformer.models.blip2_decoder import Blip2QueryDecoder
from scene_qformer.models.joint_scene_encoder import JointSceneEncoder
from scene_qformer.models.surround_memory import flatten_memory


def build(cross_attn_cfg, **kwargs):
    decoder = SceneQueryDecoder(
        num_layers=3,
        embed_dims=12,
        self_attn_cfg=dict(type='GlobalAttention', num_heads=3),
        cross_attn_cfg=cross_attn_cfg,
        feedforward_channels=17,
        **kwargs)
    decoder.init_weights()
    return decoder


GLOBAL = dict(type='GlobalAttention', num_heads=3, attn_drop=0.2)


def inputs():
    """2 samples, 5 cameras, 2 levels of 3x7 and 2x4 cells, 7 queries."""
    feats = [torch.randn(2, 5, 12, 3, 7), torch.randn(2, 5, 12, 2, 4)]
    return dict(query=torch.randn(2, 7, 12), reference_points=torch.rand(2, 7, 3),
                **flatten_memory(feats, [torch.randn_like(feat) for feat in feats]))


def test_maps_of_every_layer():
    decoder, data = build(GLOBAL).eval(), inputs()
    with record_attention(decoder) as attention:
        decoder(**data)
    assert attention.layers == ['layers.0.cross_attn', 'layers.1.cross_attn', 'layers.2.cross_attn']
    maps = attention.maps()
    assert [level.shape for level in maps] == [(2, 7, 5, 3, 7), (2, 7, 5, 2, 4)]
    assert torch.allclose(sum(level.sum((2, 3, 4)) for level in maps), torch.ones(2, 7))
    assert torch.equal(maps[0], attention.maps(layer=2)[0])
    assert not torch.allclose(maps[0], attention.maps(layer=0)[0], atol=1e-4)


def test_cells_lie_where_the_memory_has_them():
    decoder, data = build(GLOBAL).eval(), inputs()
    with record_attention(decoder) as attention:
        decoder(**data)
    shapes = data['spatial_shapes'].tolist()
    camera, level, row, column = 3, 1, 1, 2
    place = data['level_start_index'][2 * camera + level] + row * shapes[1][1] + column
    attn, seen = decoder.layers[1].cross_attn.attn, attention.inputs(1)
    weights = attn(seen['query'] + seen['query_pos'], data['key'] + data['key_pos'], data['value'])[1]  # head mean
    assert torch.allclose(attention.maps(1)[level][..., camera, row, column], weights[..., place], atol=1e-6)


def test_heads_and_chosen_queries():
    decoder, data = build(GLOBAL).eval(), inputs()
    with record_attention(decoder) as attention:
        decoder(**data)
    per_head, mean = attention.maps(per_head=True), attention.maps()
    assert [level.shape for level in per_head] == [(2, 3, 7, 5, 3, 7), (2, 3, 7, 5, 2, 4)]
    some = attention.maps(queries=torch.tensor([6, 1]))
    for level, heads, chosen in zip(mean, per_head, some):
        assert torch.allclose(heads.mean(1), level, atol=1e-6)
        assert torch.allclose(chosen, level[:, [6, 1]], atol=1e-6)


def test_pieces_make_the_same_whole(monkeypatch):
    decoder, data = build(GLOBAL).eval(), inputs()
    with record_attention(decoder) as attention:
        decoder(**data)
    whole = attention.maps()
    monkeypatch.setattr(recorder, 'CHUNK_ELEMENTS', 2 * 145 * 3)  # 3 queries at once, of 145 keys and 2 samples
    sizes = []
    original = recorder.attention_weights
    monkeypatch.setattr(recorder, 'attention_weights', lambda *args: sizes.append(len(args[2])) or original(*args))
    assert all(torch.allclose(*levels, atol=1e-6) for levels in zip(whole, attention.maps()))
    assert sizes == [3, 3, 1]


def test_deformable_maps_sum_to_one_or_zero():
    decoder, data = build(dict(type='SurroundDeformableAttention', num_heads=3, num_levels=2)).eval(), inputs()
    # one camera looks along x, four see nothing of the range
    lidar2img = torch.zeros(2, 5, 4, 4)
    lidar2img[:, 0] = torch.tensor([[14., -28, 0, 0], [6, 0, -28, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    lidar2img[:, 1:, 2, 3] = -1.
    data['cameras'] = dict(lidar2img=lidar2img, image_size=torch.tensor([28., 12.]))
    data['reference_points'][:, :, 1:] = 0.5
    data['reference_points'][:, :, 0] = torch.tensor([0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 0.6])  # every second lies behind
    with record_attention(decoder) as attention:
        decoder(**data)
    for per_head in (False, True):
        maps = attention.maps(per_head=per_head)
        totals = sum(level.sum((-3, -2, -1)) for level in maps)
        assert torch.allclose(totals, torch.tensor([1., 0, 1, 0, 1, 0, 1]).expand_as(totals))
        assert all((level[..., 1:, :, :] == 0).all() for level in maps)


@pytest.mark.parametrize('attention_type', ['GlobalAttention', 'MultiheadAttention'])
def test_joint_encoder(attention_type):
    encoder = JointSceneEncoder(num_layers=2, embed_dims=12, attn_cfg=dict(type=attention_type, num_heads=3),
                                feedforward_channels=17).eval()
    encoder.init_weights()
    data, calls = inputs(), []
    data['attn_mask'] = torch.rand(7, 7) < 0.3
    data['key_padding_mask'] = torch.rand(2, 145) < 0.1
    hook = encoder.layers[0].attn.register_forward_hook(
        lambda module, args, kwargs, output: calls.append((args, kwargs)), with_kwargs=True)
    with record_attention(encoder) as attention:
        encoder(**data)
    hook.remove()
    assert attention.layers == ['layers.0', 'layers.1']
    # by hand, from what the first layer's attention was called with for the scene tokens
    (query, ), call = calls[0]
    weight, bias = (part.chunk(3) for part in (encoder.layers[0].attn.attn.in_proj_weight,
                                               encoder.layers[0].attn.attn.in_proj_bias))
    query, key = (F.linear(tokens, weight[index], bias[index]).unflatten(-1, (3, 4)) for index, tokens in enumerate(
        (query + call['query_pos'], call['key'] + call['key_pos'])))
    logits = torch.einsum('bqhc,bkhc->bhqk', query, key) / 2
    logits[:, :, :, :7].masked_fill_(data['attn_mask'], -torch.inf)
    logits[:, :, :, 7:].masked_fill_(data['key_padding_mask'][:, None, None], -torch.inf)
    images = logits.softmax(-1)[..., 7:]
    expected = images.mean(1) / images.mean(1).sum(-1, keepdim=True)
    maps = attention.maps(0)
    assert [level.shape for level in maps] == [(2, 7, 5, 3, 7), (2, 7, 5, 2, 4)]
    assert torch.allclose(torch.cat([level.flatten(3) for level in maps], -1).flatten(2), expected, atol=1e-6)


def test_blip2_has_maps_where_it_looks():
    decoder = Blip2QueryDecoder(num_layers=5, embed_dims=8, memory_dims=12, num_heads=2, feedforward_channels=17).eval()
    data = dict(inputs(), query=torch.randn(2, 7, 8), key_padding_mask=torch.rand(2, 145) < 0.1)
    with record_attention(decoder) as attention:
        decoder(**data)
    assert attention.layers == [f'encoder.layer.{index}.crossattention' for index in (0, 2, 4)]
    maps = attention.maps()
    assert torch.allclose(sum(level.sum((2, 3, 4)) for level in maps), torch.ones(2, 7))


def test_number_of_cameras_without_matrices():
    shapes = torch.tensor([[4, 6], [2, 3]] * 5)
    assert recorder.count_levels(dict(spatial_shapes=shapes)) == 2
    assert recorder.count_levels(dict(spatial_shapes=shapes, cameras=dict(image_size=torch.ones(2)))) == 2
    assert recorder.count_levels(dict(spatial_shapes=shapes[:2])) == 2  # one camera
    # equal shapes of two levels: the matrices know
    cameras = dict(lidar2img=torch.ones(1, 3, 4, 4), image_size=torch.ones(2))
    assert recorder.count_levels(dict(spatial_shapes=torch.ones(6, 2), cameras=cameras)) == 2


def test_the_model_is_left_as_it_was():
    decoder, data = build(GLOBAL).eval(), inputs()
    before = decoder(**data)[0]
    with record_attention(decoder) as attention:
        assert torch.equal(decoder(**data)[0], before)
    assert not any(module._forward_hooks for module in decoder.modules())
    kept = attention.inputs()['query']
    decoder(**{**data, 'query': data['query'] + 1})
    assert attention.inputs()['query'] is kept
    with pytest.raises(RuntimeError), record_attention(decoder):
        raise RuntimeError
    assert not any(module._forward_hooks for module in decoder.modules())


def test_the_last_call_counts():
    decoder, data = build(GLOBAL).eval(), inputs()
    with record_attention(decoder) as attention:
        decoder(**{**data, 'query': data['query'] + 1})
        decoder(**data)
    with record_attention(decoder) as once:
        decoder(**data)
    assert all(torch.equal(*levels) for levels in zip(attention.maps(), once.maps()))


@pytest.mark.parametrize('with_cp', [False, True])
def test_in_training(with_cp):
    decoder, data = build(GLOBAL, with_cp=with_cp).train(), inputs()
    data['query'].requires_grad_()
    with record_attention(decoder) as attention:
        decoder(**data)[0].sum().backward()
    maps = attention.maps()
    assert not maps[0].requires_grad and not attention.inputs()['query'].requires_grad
    assert torch.allclose(sum(level.sum((2, 3, 4)) for level in maps), torch.ones(2, 7))  # without dropout
    assert len(attention.layers) == 3 and decoder.layers[0].cross_attn.attn.training


def test_half_precision():
    decoder, data = build(GLOBAL).eval(), inputs()
    with torch.inference_mode(), torch.autocast('cpu', torch.bfloat16), record_attention(decoder) as attention:
        decoder(**data)
        maps = attention.maps()
    assert maps[0].dtype == torch.float32
    assert torch.allclose(sum(level.sum((2, 3, 4)) for level in maps), torch.ones(2, 7))


def test_errors():
    decoder, data = build(GLOBAL).eval(), inputs()
    with pytest.raises(ValueError, match='Linear has no cross-attention.*named cross_attn or'), \
            record_attention(nn.Linear(2, 3)):
        pass
    with record_attention(decoder) as attention:
        pass
    with pytest.raises(RuntimeError, match='No cross-attention was recorded: call the model inside'):
        attention.maps()
    with record_attention(decoder) as attention:
        decoder(**data)
    with pytest.raises(IndexError, match='no layer 3: 3 were recorded, 0 to 2 or -3 to -1'):
        attention.maps(layer=3)
    with pytest.raises(IndexError, match='no layer -4'):
        attention.maps(layer=-4)


@MODELS.register_module()
class _MeanOfTheMemory(nn.Module):
    """A user's own."""

    def __init__(self, embed_dims, batch_first):
        super().__init__()

    def forward(self, query, value, **rest):
        return query + value.mean(1, keepdim=True)


def test_class_without_weights_is_named():
    decoder = build(dict(type='_MeanOfTheMemory')).eval()
    with record_attention(decoder) as attention:
        decoder(**inputs())
    with pytest.raises(NotImplementedError, match='no attention weights for _MeanOfTheMemory'):
        attention.maps()


def test_keys_without_shapes_are_refused():
    layer = nn.ModuleDict(dict(cross_attn=GlobalAttention(6, 2)))
    with record_attention(layer) as attention:
        layer['cross_attn'](torch.randn(1, 3, 6), key=torch.randn(1, 5, 6))
    with pytest.raises(ValueError, match='cross_attn .GlobalAttention. was called without spatial_shapes'):
        attention.maps()
