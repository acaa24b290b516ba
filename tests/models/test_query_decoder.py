import pytest
import torch
from mmcv.cnn.bricks.transformer import MultiheadAttention

from scene_qformer.models import SceneQueryDecoder
from scene_qformer.models.positional_encoding import sine_embedding
from scene_qformer.models.surround_memory import flatten_memory


def build(attention='GlobalAttention', num_layers=3, **kwargs):
    torch.manual_seed(1)
    attn_cfg = dict(type=attention, num_heads=3)
    decoder = SceneQueryDecoder(
        num_layers=num_layers,
        embed_dims=12,
        self_attn_cfg=attn_cfg,
        cross_attn_cfg=attn_cfg,
        feedforward_channels=17,
        ffn_drop=0.,
        **kwargs)
    decoder.init_weights()
    return decoder


def inputs(batch_size=2):
    generator = torch.Generator().manual_seed(0)
    feats = [torch.randn(batch_size, 2, 12, 3, 5, generator=generator)]
    encodings = [torch.randn(1, 2, 12, 3, 5, generator=generator)]
    query = torch.randn(batch_size, 7, 12, generator=generator)
    reference_points = torch.rand(batch_size, 7, 3, generator=generator)
    return dict(query=query, reference_points=reference_points, **flatten_memory(feats, encodings))


def test_gives_every_layer_and_each_differs():
    data = inputs()
    states, points = build()(**data)
    assert states.shape == (3, 2, 7, 12)
    assert all(torch.equal(layer, data['reference_points']) for layer in points)
    assert not torch.allclose(states[0], states[1]) and not torch.allclose(states[1], states[2])


def test_one_layer_by_hand():
    decoder = build(num_layers=1).eval()
    layer, data = decoder.layers[0], inputs()
    query, pos = data['query'], decoder.position_mlp(sine_embedding(data['reference_points'], 6))
    query = layer.norms[0](query + layer.self_attn.attn(query + pos, query + pos, query)[0])
    query = layer.norms[1](query + layer.cross_attn.attn(query + pos, data['key'] + data['key_pos'], data['value'])[0])
    first, second = layer.ffn.layers[0][0], layer.ffn.layers[1]
    query = layer.norms[2](query + second(first(query).relu()))
    assert torch.allclose(decoder(**data)[0][0], query, atol=1e-5)


def test_mmcv_attention_works_unmodified_and_agrees():
    ours, theirs = build().eval(), build('MultiheadAttention').eval()
    theirs.load_state_dict(ours.state_dict())
    assert torch.allclose(ours(**inputs())[0], theirs(**inputs())[0], atol=1e-5)


@pytest.mark.parametrize('name', ['MultiheadAttention', 'mmcv.cnn.bricks.transformer.MultiheadAttention'])
def test_mmcv_attention_agrees_under_masks(name):
    """In the self-attention among queries and towards the memory."""
    ours, theirs = build().eval(), build(name).eval()
    theirs.load_state_dict(ours.state_dict())
    assert type(theirs.layers[0].cross_attn) is MultiheadAttention
    attn_mask = torch.ones(7, 7).triu(1).bool()
    padding = torch.zeros(2, 30, dtype=torch.bool)
    padding[0, 11:] = True
    masks = dict(attn_mask=attn_mask, key_padding_mask=padding)
    assert torch.allclose(ours(**inputs(), **masks)[0], theirs(**inputs(), **masks)[0], atol=1e-5)
    assert not torch.allclose(ours(**inputs(), **masks)[0], ours(**inputs())[0], atol=1e-2)


def test_recomputing_activations_changes_nothing():
    results = []
    for with_cp in (False, True):
        decoder, data = build(with_cp=with_cp).train(), inputs()
        data['query'].requires_grad_()
        states, _ = decoder(**data)
        (states * torch.linspace(-1, 1, states.numel()).view_as(states)).sum().backward()
        results.append([parameter.grad for parameter in decoder.parameters()] + [data['query'].grad])
    for plain, recomputed in zip(*results):
        assert torch.allclose(plain, recomputed, atol=1e-5)


def test_samples_of_a_batch_do_not_mix():
    decoder, data = build().eval(), inputs()
    single = {name: value if name in ('spatial_shapes', 'level_start_index') else value[1:]
              for name, value in data.items()}
    assert torch.allclose(decoder(**data)[0][:, 1:], decoder(**single)[0], atol=1e-5)


def test_masked_queries_do_not_see_each_other():
    decoder, data = build().eval(), inputs()
    mask = torch.zeros(7, 7, dtype=torch.bool)
    mask[:4, 4:] = True  # the first four are blind to the rest
    changed = {**data, 'query': data['query'].clone()}
    changed['query'][:, 4:] += 1.
    before, after = decoder(**data, attn_mask=mask)[0], decoder(**changed, attn_mask=mask)[0]
    assert torch.equal(before[:, :, :4], after[:, :, :4])
    assert not torch.allclose(before[:, :, 4:], after[:, :, 4:])


def test_memory_layout_is_camera_level_row_column():
    feats = [torch.zeros(1, 2, 1, 2, 3), torch.zeros(1, 2, 1, 1, 2)]
    for camera in range(2):
        for level, feat in enumerate(feats):
            height, width = feat.shape[-2:]
            for row in range(height):
                for column in range(width):
                    feat[0, camera, 0, row, column] = 1000 * camera + 100 * level + 10 * row + column
    memory = flatten_memory(feats, [torch.ones(1), torch.ones(1)])
    first = [0, 1, 2, 10, 11, 12, 100, 101]
    assert memory['key'].flatten().tolist() == first + [1000 + number for number in first]
    assert memory['spatial_shapes'].tolist() == [[2, 3], [1, 2], [2, 3], [1, 2]]
    assert memory['level_start_index'].tolist() == [0, 6, 8, 14]
    assert torch.equal(memory['value'], memory['key'] + 1)


def test_unknown_attention_is_named():
    with pytest.raises(KeyError, match='NoSuchAttention is not in the'):
        build('NoSuchAttention')


def test_refinement_moves_points_from_layer_to_layer():
    decoder, data = build(refine_reference_points=True).eval(), inputs()
    points = decoder(**data)[1]
    assert all(torch.allclose(layer, data['reference_points'], atol=1e-5) for layer in points)  # starts with no step
    with torch.no_grad():
        for step, refinement in zip((0.25, 0.5, 1.), decoder.refinements):
            refinement.bias.fill_(step)
    states, moved = decoder(**data)
    points = data['reference_points']
    for layer, step in zip(moved, (0.25, 0.5, 1.)):
        away = (points[..., :2] - 0.5) / (points[..., :2] - 0.5).norm(dim=-1, keepdim=True)
        left = torch.stack((-away[..., 1], away[..., 0]), dim=-1)
        points = points + 0.02 * step * torch.cat((away + left, torch.ones_like(points[..., :1])), dim=-1)
        points = points.clamp(0, 1)
        assert torch.allclose(layer, points, atol=1e-5)
    assert not torch.allclose(states[1], decoder(**{**data, 'reference_points': data['reference_points'] * 0.9})[0][1])


def test_each_layer_learns_its_own_step():
    decoder, data = build(refine_reference_points=True), inputs()
    decoder(**data)[1][1].sum().backward()
    with_gradient = [refinement.bias.grad is not None and bool(refinement.bias.grad.abs().sum())
                     for refinement in decoder.refinements]
    assert with_gradient == [False, True, False]


def test_radial_positions_do_not_tell_the_direction():
    decoder = build(radial_positions=True)
    points = torch.tensor([[[0.9, 0.5, 0.3], [0.5, 0.1, 0.3], [0.8, 0.2, 0.3], [0.9, 0.5, 0.4]]])
    east, south, nearer, higher = decoder.encode_position(points, torch.float32)[0]
    assert torch.allclose(east, south, atol=1e-6)
    assert not torch.allclose(east, higher, atol=1e-4)
    radius = torch.tensor([(0.3**2 + 0.3**2)**0.5 / 0.5**0.5, 0.3])  # of the way from the middle to a corner
    assert torch.allclose(nearer, decoder.position_mlp(sine_embedding(radius, 6)), atol=1e-6)


def test_width_that_cannot_hold_the_position_code_is_refused():
    with pytest.raises(ValueError, match='divisible by 4.*got 6'):
        SceneQueryDecoder(embed_dims=6, self_attn_cfg=dict(num_heads=3, type='GlobalAttention'))


@pytest.mark.parametrize('deformable', ['MultiScaleDeformableAttention', 'SurroundDeformableAttention'])
def test_self_attention_that_is_not_global_is_refused(deformable):
    with pytest.raises(TypeError, match=f'SceneQueryDecoder.self_attn_cfg .*must be global.* got {deformable}, .*'
                                        'SceneQueryDecoder.cross_attn_cfg'):
        SceneQueryDecoder(num_layers=1, embed_dims=16, self_attn_cfg=dict(type=deformable))
