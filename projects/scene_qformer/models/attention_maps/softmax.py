"""Weights of attention to every key."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmcv.cnn.bricks.transformer import MultiheadAttention
from torch import Tensor, nn

from ..attention import GlobalAttention
from ..blip2_decoder import BertAttention
from .weights import attention_weights


@attention_weights.register(GlobalAttention)
def _(module: GlobalAttention, inputs: dict[str, Any], queries: Tensor) -> Tensor:
    return softmax_weights(module.attn, _plus(inputs['query'], inputs.get('query_pos')),
                           _plus(inputs['key'], inputs.get('key_pos')), queries, inputs.get('attn_mask'),
                           inputs.get('key_padding_mask'))


@attention_weights.register(MultiheadAttention)
def _(module: MultiheadAttention, inputs: dict[str, Any], queries: Tensor) -> Tensor:
    query, key = inputs['query'], inputs['key']
    query_pos, key_pos = inputs.get('query_pos'), inputs.get('key_pos')
    if key_pos is None and query_pos is not None and query_pos.shape == key.shape:
        key_pos = query_pos  # mmcv's rule
    query, key = _plus(query, query_pos), _plus(key, key_pos)
    if not module.batch_first:
        query, key = query.transpose(0, 1), key.transpose(0, 1)
    return softmax_weights(module.attn, query, key, queries, inputs.get('attn_mask'), inputs.get('key_padding_mask'))


@attention_weights.register(BertAttention)
def _(module: BertAttention, inputs: dict[str, Any], queries: Tensor) -> Tensor:
    def project(name: str, source: Tensor) -> Tensor:  # (B, L, .) -> (B, heads, L, C / heads)
        projection = module.attention[name]
        return projection(source.to(projection.weight.dtype)).unflatten(-1, (module.num_heads, -1)).transpose(1, 2)

    query, key = project('query', inputs['query'][:, queries]), project('key', inputs['key'])
    logits = query @ key.transpose(2, 3) / query.shape[-1]**0.5
    if inputs.get('key_padding_mask') is not None:
        logits = logits.masked_fill(inputs['key_padding_mask'][:, None, None], float('-inf'))
    return logits.softmax(-1)


def softmax_weights(attn: nn.MultiheadAttention,
                    query: Tensor,
                    key: Tensor,
                    queries: Tensor,
                    attn_mask: Tensor | None = None,
                    key_padding_mask: Tensor | None = None) -> Tensor:
    """PyTorch's own weights, head by head.

    Args:
        attn: The attention.
        query: ``(B, Q, C)``, with its position.
        key: ``(B, K, C)``, with its position.
        queries: ``(q,)`` int64, which of the queries.
        attn_mask: ``(Q, K)`` or ``(B * heads, Q, K)``, as ``nn.MultiheadAttention`` takes it.
        key_padding_mask: ``(B, K)`` bool.

    Returns:
        ``(B, heads, q, K)``.
    """
    dtype = attn.out_proj.weight.dtype  # inputs recorded under autocast may be of another
    query, key = query[:, queries].to(dtype), key.to(dtype)
    if not attn.batch_first:
        query, key = query.transpose(0, 1), key.transpose(0, 1)
    with _without_dropout(attn):
        # the value does not matter for the weights
        return attn(query, key, key, key_padding_mask=key_padding_mask, need_weights=True, average_attn_weights=False,
                    attn_mask=None if attn_mask is None else attn_mask[..., queries, :])[1]


def _plus(tensor: Tensor, position: Tensor | None) -> Tensor:
    return tensor if position is None else tensor + position


@contextmanager
def _without_dropout(module: nn.Module) -> Iterator[None]:
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)
