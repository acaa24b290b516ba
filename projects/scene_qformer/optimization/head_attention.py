"""Attention one head after another: for half precision on a CPU."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention, by the faster way for the device and dtype.

    PyTorch's CPU kernel (flash attention) is no faster in bfloat16 than in float32. One product a head uses the CPU's
    bfloat16 instructions, and the logits of a head, some megabytes, stay in the cache.

    Args:
        query: ``(B, H, Q, D)``.
        key: ``(B, H, K, D)``.
        value: ``(B, H, K, D)``.

    Returns:
        ``(B, H, Q, D)``.
    """
    if query.device.type == 'cpu' and query.dtype == torch.bfloat16:
        return head_by_head(query, key, value)
    return F.scaled_dot_product_attention(query, key, value)


def head_by_head(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """As :func:`torch.nn.functional.scaled_dot_product_attention`, its twin; logits are rounded to the dtype."""
    scaled = query * query.shape[-1]**-0.5
    attended = torch.empty_like(query)
    for sample, queries in enumerate(scaled):
        for head, single in enumerate(queries):
            weights = (single @ key[sample, head].T).softmax(-1)
            torch.matmul(weights, value[sample, head], out=attended[sample, head])
    return attended
