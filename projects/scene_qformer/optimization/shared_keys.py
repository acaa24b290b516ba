"""Keys and values of all decoder layers in one product: the memory is the same for all of them."""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..models.attention import GlobalAttention
from ..models.query_decoder import SceneQueryDecoder
from .head_attention import attend


class ProjectedAttention(nn.Module):
    """A :class:`GlobalAttention` whose keys and values come projected; in evaluation mode.

    Args:
        attention: Its twin, whose weights for query and output it takes.
    """

    def __init__(self, attention: GlobalAttention) -> None:
        super().__init__()
        attn = attention.attn
        self.num_heads = attn.num_heads
        query_weight, query_bias = attn.in_proj_weight.chunk(3)[0], None
        if attn.in_proj_bias is not None:
            query_bias = attn.in_proj_bias.chunk(3)[0]
        self.query_proj = linear(query_weight, query_bias)
        self.out_proj = linear(attn.out_proj.weight, attn.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, query_pos: Tensor | None = None,
                **kwargs: Any) -> Tensor:
        """``query`` and ``query_pos`` ``(B, Q, C)``, ``key`` and ``value`` ``(B, H, K, D)``: ``(B, Q, C)``."""
        wanted = self.query_proj(query if query_pos is None else query + query_pos)
        wanted = wanted.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, H, Q, D)
        return query + self.out_proj(attend(wanted.to(key.dtype), key, value).transpose(1, 2).flatten(2))


class SharedKeysDecoder(nn.Module):
    """Called as the :class:`SceneQueryDecoder` that it is made from; projects the memory once, for all layers.

    Each layer of the twin computes ``W_k (key + key_pos)`` and ``W_v value``. By the decoder's contract ``key +
    key_pos`` is ``value``, so that all of them are one product of the memory with the matrices beside each other,
    ``(B, K, C)`` by ``(C, 2 L C)``.

    Args:
        decoder: Its twin, whose layers it takes over: the twin cannot be called afterwards.

    Raises:
        TypeError: If a layer's cross-attention is not global.
    """

    def __init__(self, decoder: SceneQueryDecoder) -> None:
        super().__init__()
        if not can_share_keys(decoder):
            raise TypeError('Keys and values can be shared only in a SceneQueryDecoder whose cross_attn_cfg is '
                            'GlobalAttention: deformable attention projects no keys, and others hide how they do.')
        self.embed_dims = decoder.embed_dims
        twins = [layer.cross_attn.attn for layer in decoder.layers]
        self.num_heads = [twin.num_heads for twin in twins]
        weights = [twin.in_proj_weight.chunk(3) for twin in twins]
        biases = [twin.in_proj_bias.chunk(3) for twin in twins if twin.in_proj_bias is not None]
        # key of layer 0, value of layer 0, key of layer 1 ...
        self.memory_proj = linear(
            torch.cat([matrix for weight in weights for matrix in weight[1:]]),
            torch.cat([vector for bias in biases for vector in bias[1:]]) if biases else None)
        for layer in decoder.layers:
            layer.cross_attn = ProjectedAttention(layer.cross_attn)
        self.decoder = decoder

    def forward(self, query: Tensor, reference_points: Tensor, value: Tensor, attn_mask: Tensor | None = None,
                key_padding_mask: Tensor | None = None, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """As the twin's, without ``key_padding_mask``, which :class:`SceneQFormer` never gives.

        Raises:
            ValueError: If there is a ``key_padding_mask``.
        """
        if key_padding_mask is not None:
            raise ValueError('SharedKeysDecoder takes no key_padding_mask: build it with '
                             'optimize=dict(merge_keys_values=False).')
        projected = self.memory_proj(value).chunk(2 * len(self.num_heads), dim=-1)
        memories = iter(
            dict(key=split_heads(key, heads), value=split_heads(value, heads))
            for key, value, heads in zip(projected[::2], projected[1::2], self.num_heads))

        def step(layer: nn.Module, query: Tensor, query_pos: Tensor, reference_points: Tensor) -> Tensor:
            return layer(query, query_pos, reference_points, attn_mask, next(memories))

        return self.decoder.run_layers(query, reference_points, step)


def can_share_keys(decoder: nn.Module) -> bool:
    """Whether all layers attend to the memory globally, by this project's own class and no other."""
    return type(decoder) is SceneQueryDecoder and all(
        type(layer.cross_attn) is GlobalAttention and layer.cross_attn.attn.in_proj_weight is not None
        for layer in decoder.layers)


def split_heads(vectors: Tensor, num_heads: int) -> Tensor:
    """``(B, K, H * D)`` to ``(B, H, K, D)``, a view."""
    return vectors.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A layer with copies of these weights."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, weight.device, weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer
