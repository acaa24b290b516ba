import pytest
import torch
from mmcv.cnn.bricks.transformer import MultiheadAttention
from torch.nn.attention import SDPBackend, sdpa_kernel

from scene_qformer.models import GlobalAttention


@pytest.fixture
def attention():
    return GlobalAttention(embed_dims=12, num_heads=3).eval()


def inputs(num_queries=5, num_keys=7, channels=12):
    generator = torch.Generator().manual_seed(0)
    shapes = dict(query=num_queries, key=num_keys, value=num_keys, query_pos=num_queries, key_pos=num_keys)
    return {name: torch.randn(2, length, channels, generator=generator) for name, length in shapes.items()}


def test_equals_mmcv_forward_and_backward(attention):
    twin = MultiheadAttention(embed_dims=12, num_heads=3, batch_first=True).eval()
    twin.load_state_dict(attention.state_dict())
    mask = torch.zeros(2, 7, dtype=torch.bool)
    mask[1, 4:] = True
    gradients = []
    for module in (attention, twin):
        query = inputs()['query'].requires_grad_()
        out = module(**{**inputs(), 'query': query}, key_padding_mask=mask, spatial_shapes='ignored')
        out.square().sum().backward()
        gradients.append((out.detach(), query.grad, module.attn.in_proj_weight.grad))
    for ours, theirs in zip(*gradients):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_self_attention_equals_mmcv(attention):
    twin = MultiheadAttention(embed_dims=12, num_heads=3, batch_first=True).eval()
    twin.load_state_dict(attention.state_dict())
    query, query_pos = inputs()['query'], inputs()['query_pos']
    mask = torch.eye(5, dtype=torch.bool).roll(1, 0)
    assert torch.allclose(
        attention(query, query_pos=query_pos, attn_mask=mask), twin(query, query_pos=query_pos, attn_mask=mask),
        atol=1e-6)


def test_reaches_the_fused_kernel_in_training():
    attention = GlobalAttention(embed_dims=12, num_heads=3).train()
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):  # raises where only the unfused math is possible
        attention(**inputs()).sum().backward()


def test_masked_keys_contribute_nothing(attention):
    data = inputs()
    mask = torch.zeros(2, 7, dtype=torch.bool)
    mask[:, 4:] = True
    changed = {**data, 'key': data['key'].clone(), 'value': data['value'].clone()}
    changed['key'][:, 4:] = 100.
    changed['value'][:, 4:] = -100.
    assert torch.equal(attention(**data, key_padding_mask=mask), attention(**changed, key_padding_mask=mask))


def test_bad_arguments():
    with pytest.raises(ValueError, match='num_heads=5 does not divide embed_dims=12'):
        GlobalAttention(embed_dims=12, num_heads=5)
    with pytest.raises(ValueError, match='batch first'):
        GlobalAttention(embed_dims=12, num_heads=3, batch_first=False)
