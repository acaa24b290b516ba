import pytest
import torch
import torch.nn.functional as F
from small_models import relative_error

from scene_qformer.optimization.head_attention import attend, head_by_head


@pytest.mark.parametrize(('batch_size', 'queries', 'keys'), [(1, 7, 13), (2, 1, 101), (3, 5, 1), (0, 5, 7)])
@pytest.mark.parametrize(('dtype', 'bound'), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2)])
def test_equals_the_twin(batch_size, queries, keys, dtype, bound):
    query, key, value = torch.randn(batch_size, 3, queries, 8), *torch.randn(2, batch_size, keys, 3, 8).transpose(2, 3)
    expected = F.scaled_dot_product_attention(query, key, value)
    got = head_by_head(query.to(dtype), key.to(dtype), value.to(dtype))
    assert got.dtype == dtype and got.shape == expected.shape
    assert not batch_size or relative_error(got.float(), expected) < bound


def test_only_half_precision_goes_head_by_head(monkeypatch):
    monkeypatch.setattr('scene_qformer.optimization.head_attention.head_by_head', lambda *args: 'head by head')
    vectors = torch.randn(1, 2, 3, 4)
    assert torch.is_tensor(attend(vectors, vectors, vectors))
    assert attend(*[vectors.bfloat16()] * 3) == 'head by head'
