import pytest
import torch
import torch.nn.functional as F

from scene_qformer.models import JointSceneEncoder
from scene_qformer.models.joint_scene_encoder import JointMasks
from scene_qformer.models.query_denoising import DenoisingQueries
from scene_qformer.models.surround_memory import flatten_memory

NUM_QUERIES, NUM_KEYS = 7, 30


def build(num_layers=3, attention='GlobalAttention', **kwargs):
    torch.manual_seed(1)
    encoder = JointSceneEncoder(
        num_layers=num_layers, embed_dims=12, attn_cfg=dict(type=attention, num_heads=3), feedforward_channels=17,
        ffn_drop=0., **kwargs)
    encoder.init_weights()
    for parameter in encoder.parameters():  # no scale, bias or norm that a mistake could hide behind
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, mean=0.5, std=0.3)
    return encoder


def inputs(batch_size=2, num_queries=NUM_QUERIES):
    generator = torch.Generator().manual_seed(0)
    feats = [torch.randn(batch_size, 2, 12, 3, 5, generator=generator)]
    encodings = [torch.randn(1, 2, 12, 3, 5, generator=generator)]
    query = torch.randn(batch_size, num_queries, 12, generator=generator)
    reference_points = torch.rand(batch_size, num_queries, 3, generator=generator)
    return dict(query=query, reference_points=reference_points, **flatten_memory(feats, encodings))


def one_sequence(encoder, data, attn_mask=None, key_padding_mask=None):
    """The same by definition: one self-attention over one sequence, with one mask, spelled out."""
    query, value = data['query'], data['value']
    num_queries, length = query.shape[1], query.shape[1] + value.shape[1]
    pos = torch.cat((encoder.encode_position(data['reference_points'], query.dtype), torch.zeros_like(value)), dim=1)
    allowed = torch.ones(len(query), 1, length, length, dtype=torch.bool)
    if attn_mask is not None:
        allowed[:, :, :num_queries, :num_queries] &= ~attn_mask
        allowed[:, :, num_queries:, :num_queries] &= ~attn_mask.any(0)
    if key_padding_mask is not None:
        allowed[:, :, :, num_queries:] &= ~key_padding_mask[:, None, None]
    tokens, states = torch.cat((query, value), dim=1), []
    for layer in encoder.layers:
        normed = layer.norms[0](tokens)
        attn = layer.attn.attn
        weights, biases = attn.in_proj_weight.chunk(3), attn.in_proj_bias.chunk(3)
        heads = [F.linear(source, weight, bias).unflatten(-1, (3, 4)).transpose(1, 2)
                 for source, weight, bias in zip((normed + pos, normed + pos, normed), weights, biases)]
        logits = heads[0] @ heads[1].transpose(-1, -2) / 4**0.5
        mixed = logits.masked_fill(~allowed, -torch.inf).softmax(-1) @ heads[2]
        tokens = tokens + attn.out_proj(mixed.transpose(1, 2).flatten(2))
        first, second = layer.ffn.layers[0][0], layer.ffn.layers[1]
        tokens = tokens + second(first(layer.norms[1](tokens)).relu())
        states.append(encoder.norm(tokens[:, :num_queries]))
    return torch.stack(states)


def some_masks():
    blind = torch.zeros(NUM_QUERIES, NUM_QUERIES, dtype=torch.bool)
    blind[:4, 4:] = True
    padding = torch.zeros(2, NUM_KEYS, dtype=torch.bool)
    padding[1, 11:] = True
    return blind, padding


@pytest.mark.parametrize('masked', ['nothing', 'queries', 'padding', 'both'])
def test_equals_self_attention_over_one_sequence(masked):
    encoder, data = build().eval(), inputs()
    blind, padding = some_masks()
    masks = dict(
        attn_mask=blind if masked in ('queries', 'both') else None,
        key_padding_mask=padding if masked in ('padding', 'both') else None)
    states, points = encoder(**data, **masks)
    assert states.shape == (3, 2, NUM_QUERIES, 12)
    assert torch.allclose(states, one_sequence(encoder, data, **masks), atol=1e-5)
    assert all(torch.equal(layer, data['reference_points']) for layer in points)
    if masked != 'nothing':
        assert not torch.allclose(states, encoder(**data)[0], atol=1e-2)


def test_mmcv_attention_works_unmodified_and_agrees():
    ours, theirs = build().eval(), build(attention='MultiheadAttention').eval()
    theirs.load_state_dict(ours.state_dict())
    blind, padding = some_masks()
    masks = dict(attn_mask=blind, key_padding_mask=padding)
    assert torch.allclose(ours(**inputs(), **masks)[0], theirs(**inputs(), **masks)[0], atol=1e-5)


def test_every_parameter_gets_a_gradient():
    encoder = build(refine_reference_points=True)
    states, points = encoder(**inputs())
    (states.square().mul(torch.linspace(0, 1, 12)).sum() + points.square().sum()).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in encoder.parameters())


def test_masks_as_drawn():
    attn_mask = torch.tensor([[False, True], [False, False]])
    masks = JointMasks.build(attn_mask, torch.tensor([[False, True]]), num_queries=2, num_keys=2)
    assert masks.scene.int().tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]]
    assert masks.image.tolist() == [0, 2, 3]  # not the hidden q1
    assert masks.padding.int().tolist() == [[0, 0, 0, 1]]
    assert JointMasks.build(None, None, 2, 2) == (None, None, None)


@pytest.mark.parametrize('num_groups', [1, 2])
def test_image_tokens_do_not_leak_the_denoising_queries(num_groups):
    """Learned queries come out as if there were none; the denoising ones read the images, but not other groups."""
    encoder, data = build().eval(), inputs()
    denoising = DenoisingQueries(torch.randn(2, 6, 12), torch.rand(2, 6, 3), torch.zeros(2, 6), num_groups)
    mask = denoising.attention_mask(NUM_QUERIES)

    def with_denoising(query, attn_mask, **changes):
        joined = dict(query=torch.cat((query, data['query']), dim=1),
                      reference_points=torch.cat((denoising.reference_points, data['reference_points']), dim=1))
        return encoder(**{**data, **changes, **joined}, attn_mask=attn_mask)[0]

    plain = encoder(**data)[0]
    states = with_denoising(denoising.query, mask)
    assert torch.allclose(states[:, :, 6:], plain, atol=1e-5)

    changed = denoising.query.clone()
    changed[:, 5] *= -1.  # (adding a number to all channels would not pass a LayerNorm)
    after = with_denoising(changed, mask)
    same = 6 - 6 // num_groups
    assert torch.allclose(states[:, :, :same], after[:, :, :same], atol=1e-5)
    assert torch.equal(states[:, :, 6:], after[:, :, 6:])
    assert not torch.allclose(states[:, :, 5], after[:, :, 5], atol=1e-2)
    other_images = with_denoising(denoising.query, mask, value=data['value'].flip(1) * 2)
    assert not torch.allclose(states[:, :, :6], other_images[:, :, :6], atol=1e-2)
    # the test can fail: where nothing is hidden, the learned queries see them
    assert not torch.allclose(with_denoising(denoising.query, None)[:, :, 6:], plain, atol=1e-3)


def test_a_mask_that_hides_nobody_changes_nothing():
    nobody = torch.zeros(NUM_QUERIES, NUM_QUERIES, dtype=torch.bool)
    encoder = build().eval()
    assert torch.allclose(encoder(**inputs(), attn_mask=nobody)[0], encoder(**inputs())[0], atol=1e-6)


def test_padded_image_tokens_contribute_nothing():
    encoder, data = build().eval(), inputs()
    _, padding = some_masks()
    changed = {**data, 'value': data['value'].masked_fill(padding[..., None], 9.)}
    before, after = encoder(**data, key_padding_mask=padding)[0], encoder(**changed, key_padding_mask=padding)[0]
    assert torch.allclose(before, after, atol=1e-6)
    assert not torch.allclose(encoder(**data)[0], encoder(**changed)[0], atol=1e-2)


def test_image_tokens_read_each_other():
    """What one cell shows reaches a scene token through another cell: that is what the decoder cannot do."""
    encoder, data = build(num_layers=2).eval(), inputs()
    layer = encoder.layers[0]
    changed = {**data, 'value': data['value'].clone()}
    changed['value'][:, 3] *= -1.
    masks = JointMasks(None, None, None)
    before, after = (layer(torch.cat((data['query'], version['value']), dim=1), torch.zeros(2, 7, 12), masks)
                     for version in (data, changed))
    assert before.shape == (2, NUM_QUERIES + NUM_KEYS, 12)
    assert (before - after).abs().amax(-1).min() > 0
    assert encoder.layers[1](before, torch.zeros(2, 7, 12), masks).shape == (2, NUM_QUERIES, 12)  # dropped at the end


def test_recomputing_activations_changes_nothing():
    results = []
    for with_cp in (False, True):
        encoder, data = build(with_cp=with_cp).train(), inputs()
        states, _ = encoder(**data, attn_mask=some_masks()[0])
        (states * torch.linspace(-1, 1, states.numel()).view_as(states)).sum().backward()
        results.append([parameter.grad for parameter in encoder.parameters()])
    for plain, recomputed in zip(*results):
        assert torch.allclose(plain, recomputed, atol=1e-5)


def test_refinement_moves_points_and_positions():
    encoder, data = build(refine_reference_points=True).eval(), inputs()
    with torch.no_grad():
        for refinement in encoder.refinements:
            refinement.weight.zero_()
            refinement.bias.copy_(torch.tensor([0., 0., 5.]))
    states, points = encoder(**data)
    up = (data['reference_points'] + torch.tensor([0., 0., 0.1])).clamp(0, 1)
    assert torch.allclose(points[0], up, atol=1e-6)
    assert torch.allclose(points[1], (up + torch.tensor([0., 0., 0.1])).clamp(0, 1), atol=1e-6)
    still = encoder(**data)[0]
    encoder.refinements = None
    assert torch.equal(states, still) and not torch.allclose(states[1], encoder(**data)[0][1], atol=1e-4)
    assert torch.equal(states[0], encoder(**data)[0][0])


def test_width_that_cannot_hold_the_position_code_is_refused():
    with pytest.raises(ValueError, match='JointSceneEncoder needs embed_dims divisible by 4.*got 6'):
        JointSceneEncoder(embed_dims=6)


@pytest.mark.parametrize('deformable', ['MultiScaleDeformableAttention', 'SurroundDeformableAttention'])
def test_attention_that_is_not_global_is_refused(deformable):
    with pytest.raises(TypeError, match=f'JointSceneEncoder.attn_cfg .*must be global.* got {deformable}, .*'
                                        'SceneQueryDecoder.cross_attn_cfg'):
        JointSceneEncoder(num_layers=1, embed_dims=16, attn_cfg=dict(type=deformable))
