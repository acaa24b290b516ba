"""The BLIP-2 layout against transformers' ``Blip2QFormerModel``, which has the same weights by name."""
import pytest
import torch
from small_blip2 import SMALL, inputs, ours, theirs

from scene_qformer.models import Blip2QueryDecoder, load_blip2_weights


@pytest.mark.parametrize('sizes', [
    {}, dict(embed_dims=26, num_heads=2, memory_dims=26), dict(memory_dims=31, feedforward_channels=5, num_layers=4)
], ids=['small', 'memory as wide', 'memory wider'])
@pytest.mark.parametrize('frequency', [1, 2, 3])
def test_equals_transformers_with_the_same_weights(frequency, sizes):
    reference = theirs(frequency, **sizes)
    decoder = ours(cross_attention_frequency=frequency, **sizes)
    report = load_blip2_weights(decoder, reference.state_dict())
    assert not report.fresh and not report.text_branch and not report.other_parts
    assert set(report.loaded) == set(reference.state_dict()) == set(decoder.state_dict())
    data = inputs(decoder.embed_dims, decoder.memory_dims)
    states, points = decoder(**data)
    expected = reference(data['query'], encoder_hidden_states=data['value'], output_hidden_states=True)
    assert states.shape == (len(decoder.encoder['layer']), 2, 7, decoder.embed_dims)
    torch.testing.assert_close(states[-1], expected.last_hidden_state, rtol=0, atol=1e-5)
    for state, layer in zip(states, expected.hidden_states[-len(states):], strict=True):
        torch.testing.assert_close(state, layer, rtol=0, atol=1e-5)
    assert all(torch.equal(layer, data['reference_points']) for layer in points) and len(points) == len(states)


def test_gradients_equal_those_of_transformers():
    reference, decoder, data = theirs(), ours(), inputs()
    load_blip2_weights(decoder, reference.state_dict())
    weight = torch.randn(2, 7, 21)
    (decoder(**data)[0][-1] * weight).sum().backward()
    (reference(data['query'], encoder_hidden_states=data['value']).last_hidden_state * weight).sum().backward()
    expected = dict(reference.named_parameters())
    for name, parameter in decoder.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad, rtol=1e-4, atol=1e-4, msg=name)


def test_masks_equal_those_of_transformers():
    reference, decoder, data = theirs(), ours(), inputs()
    load_blip2_weights(decoder, reference.state_dict())
    padding = torch.zeros(2, 30, dtype=torch.bool)
    padding[0, 17:] = True
    blind = torch.zeros(7, 7, dtype=torch.bool)
    blind[:3, 3:] = True
    states, _ = decoder(**data, key_padding_mask=padding, attn_mask=blind)
    expected = reference(
        data['query'], encoder_hidden_states=data['value'], encoder_attention_mask=(~padding).float(),
        attention_mask=(~blind).float().expand(2, 7, 7)).last_hidden_state
    torch.testing.assert_close(states[-1], expected, rtol=0, atol=1e-5)
    assert not torch.allclose(decoder(**data)[0][-1], expected, atol=1e-2)
    as_float = torch.zeros(7, 7).masked_fill(blind, float('-inf'))
    torch.testing.assert_close(decoder(**data, key_padding_mask=padding, attn_mask=as_float)[0], states)


def test_only_every_nth_layer_reads_the_memory():
    decoder, data = ours(cross_attention_frequency=3), inputs()
    assert [layer.crossattention is not None for layer in decoder.encoder['layer']] == [True, False, False, True, False]
    data['value'].requires_grad_()
    decoder(**data)[0][-1].sum().backward()
    assert data['value'].grad.abs().sum() > 0


def test_reference_points_count_only_if_asked_for():
    for asked in (False, True):
        torch.manual_seed(1)
        decoder, data = ours(embed_dims=24, encode_reference_points=asked), inputs(24)
        before = decoder(**data)[0]
        after = decoder(**{**data, 'reference_points': data['reference_points'] * 0.5})[0]
        assert torch.equal(before, after) is not asked


def test_recomputing_activations_changes_nothing():
    data, results = inputs(), []
    for with_cp in (False, True):
        torch.manual_seed(1)
        decoder = ours(with_cp=with_cp, drop=0., attn_drop=0.).train()
        decoder(**data)[0].sum().backward()
        results.append(decoder.encoder['layer'][0].crossattention.attention['key'].weight.grad)
    assert torch.equal(*results)


def test_starts_as_bert():
    decoder = Blip2QueryDecoder(num_layers=1, embed_dims=192, num_heads=3)
    decoder.init_weights()
    weight = decoder.encoder['layer'][0].intermediate_query.dense.weight
    assert weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert not decoder.encoder['layer'][0].attention.output.dense.bias.any()


@pytest.mark.parametrize(('kwargs', 'message'), [
    (dict(num_heads=4), 'num_heads=4 does not divide embed_dims=21'),
    (dict(cross_attention_frequency=0), 'at least 1, got 0'),
    (dict(encode_reference_points=True), 'divisible by 4 .*got 21'),
])
def test_impossible_settings(kwargs, message):
    with pytest.raises(ValueError, match=message):
        Blip2QueryDecoder(**{**SMALL, **kwargs})


@pytest.mark.parametrize(('widths', 'message'), [
    ((21, 13), r'a memory of 11 channels, got 13: set decoder\.memory_dims=13'),
    ((18, 11), r'queries of 21 channels, got 18: set decoder\.embed_dims=18'),
])
def test_other_widths(widths, message):
    with pytest.raises(ValueError, match=message):
        ours()(**inputs(*widths))


def test_all_parts_that_must_be_as_wide_are_named():
    with pytest.raises(ValueError) as caught:
        ours()(**inputs(18, 11))
    for setting in ('scene_queries.embed_dims', 'bbox_head.embed_dims', 'projector.in_channels',
                    'denoising.embed_dims'):
        assert f'{setting}=21' in str(caught.value)
