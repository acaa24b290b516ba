import copy

import pytest
import torch
from small_models import C, build
from torch import nn

from scene_qformer.optimization.shared_keys import SharedKeysDecoder, can_share_keys


def inputs(batch_size, num_keys):
    key, key_pos = torch.randn(batch_size, num_keys, C), torch.randn(batch_size, num_keys, C)
    return dict(query=torch.randn(batch_size, 11, C), reference_points=torch.rand(batch_size, 11, 3), key=key,
                key_pos=key_pos, value=key + key_pos)


@pytest.mark.parametrize(('batch_size', 'num_keys'), [(1, 1), (2, 13), (1, 101), (0, 13)])
@pytest.mark.parametrize('refine', [False, True])
@torch.no_grad()
def test_equals_the_twin(batch_size, num_keys, refine):
    twin = build('proposals, global, refined' if refine else 'learned, global').decoder
    fast = SharedKeysDecoder(copy.deepcopy(twin))
    memory = inputs(batch_size, num_keys)
    mask = torch.rand(11, 11) < 0.3
    mask.fill_diagonal_(False)
    for expected, got in zip(twin(**memory, attn_mask=mask), fast(**memory, attn_mask=mask), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=2e-5)


def test_gradients_equal_the_twins():
    twin = build().decoder
    fast = SharedKeysDecoder(copy.deepcopy(twin))
    memory = inputs(2, 7)
    gradients = []
    for decoder in (twin, fast):
        value = memory['key'].clone().requires_grad_()
        decoder(**dict(memory, key=value, value=value + memory['key_pos']))[0].square().sum().backward()
        gradients.append(value.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-4)


def test_one_product_for_all_layers():
    fast = SharedKeysDecoder(build().decoder)
    assert fast.memory_proj.weight.shape == (2 * 3 * C, C)
    calls = []
    fast.memory_proj.register_forward_hook(lambda *args: calls.append(args))
    fast(**inputs(1, 5))
    assert len(calls) == 1
    assert not [part for layer in fast.decoder.layers for part in layer.cross_attn.modules()
                if isinstance(part, nn.MultiheadAttention)]


def test_deformable_attention_has_no_keys():
    decoder = build('proposals, deformable').decoder
    assert not can_share_keys(decoder) and not can_share_keys(build('joint encoder').decoder)
    with pytest.raises(TypeError, match='deformable attention projects no keys'):
        SharedKeysDecoder(decoder)


def test_padding_is_refused():
    with pytest.raises(ValueError, match='no key_padding_mask.*merge_keys_values=False'):
        SharedKeysDecoder(build().decoder)(**inputs(1, 5), key_padding_mask=torch.zeros(1, 5, dtype=torch.bool))
