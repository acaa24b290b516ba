"""The Q-Former of BLIP-2 as a decoder of scene queries (Li et al., arXiv 2301.12597, section 3.1)."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .positional_encoding import sine_embedding

LAYER_NORM_EPS = 1e-12  # BERT's


class BertOutput(nn.Module):
    """Linear, dropout, add the input, LayerNorm (post-norm): how every block of BERT ends."""

    def __init__(self, in_channels: int, out_channels: int, drop: float) -> None:
        super().__init__()
        self.dense = nn.Linear(in_channels, out_channels)
        self.LayerNorm = nn.LayerNorm(out_channels, eps=LAYER_NORM_EPS)
        self.dropout = nn.Dropout(drop)

    def forward(self, hidden: Tensor, identity: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(hidden)) + identity)


class BertIntermediate(nn.Module):
    """Linear and GELU: the first half of BERT's feed-forward network."""

    def __init__(self, embed_dims: int, feedforward_channels: int) -> None:
        super().__init__()
        self.dense = nn.Linear(embed_dims, feedforward_channels)

    def forward(self, hidden: Tensor) -> Tensor:
        return F.gelu(self.dense(hidden))


class BertAttention(nn.Module):
    """Multi-head attention to a memory of any width, through PyTorch's fused kernel.

    Not :class:`GlobalAttention`, whose projections lie in one matrix: these have BERT's names.
    """

    def __init__(self, embed_dims: int, memory_dims: int, num_heads: int, attn_drop: float, drop: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attn_drop = attn_drop
        self.attention = nn.ModuleDict(dict(
            query=nn.Linear(embed_dims, embed_dims),
            key=nn.Linear(memory_dims, embed_dims),
            value=nn.Linear(memory_dims, embed_dims)))
        self.output = BertOutput(embed_dims, embed_dims, drop)

    def forward(self,
                query: Tensor,
                key: Tensor,
                value: Tensor,
                attn_mask: Tensor | None = None,
                key_padding_mask: Tensor | None = None,
                **kwargs) -> Tensor:
        """Attend; keywords as mmcv's.

        Args:
            query: ``(B, Q, C)``; also the identity to which the result is added.
            key: ``(B, K, memory_dims)``.
            value: ``(B, K, memory_dims)``.
            attn_mask: ``(Q, K)`` bool, True where attention is forbidden, or float, added to the logits.
            key_padding_mask: ``(B, K)`` bool, True at keys to ignore.
            kwargs: The rest of the decoder's keyword set.

        Returns:
            ``(B, Q, C)``, after the LayerNorm.
        """
        def project(name: str, source: Tensor) -> Tensor:  # (B, L, .) -> (B, heads, L, C / heads)
            return self.attention[name](source).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

        attended = F.scaled_dot_product_attention(
            project('query', query), project('key', key), project('value', value),
            _join_masks(attn_mask, key_padding_mask), dropout_p=self.attn_drop if self.training else 0.)
        return self.output(attended.transpose(1, 2).flatten(2), query)


def _join_masks(attn_mask: Tensor | None, key_padding_mask: Tensor | None) -> Tensor | None:
    """One mask that broadcasts to ``(B, heads, Q, K)``, in which, as PyTorch's kernel wants it, True allows."""
    if key_padding_mask is not None:
        padding = key_padding_mask[:, None, None]
        if attn_mask is None:
            return ~padding
        if attn_mask.dtype != torch.bool:
            return attn_mask.masked_fill(padding, float('-inf'))
        return ~(attn_mask | padding)
    return ~attn_mask if attn_mask is not None and attn_mask.dtype == torch.bool else attn_mask


class Blip2Layer(nn.Module):
    """Self-attention, in some layers cross-attention, and the feed-forward network of the queries."""

    def __init__(self, embed_dims: int, memory_dims: int, num_heads: int, feedforward_channels: int,
                 cross_attention: bool, attn_drop: float, drop: float) -> None:
        super().__init__()
        self.attention = BertAttention(embed_dims, embed_dims, num_heads, attn_drop, drop)
        self.crossattention = BertAttention(
            embed_dims, memory_dims, num_heads, attn_drop, drop) if cross_attention else None
        self.intermediate_query = BertIntermediate(embed_dims, feedforward_channels)
        self.output_query = BertOutput(feedforward_channels, embed_dims, drop)

    def forward(self, query: Tensor, attn_mask: Tensor | None, memory: dict,
                query_padding_mask: Tensor | None = None) -> Tensor:
        """``(B, Q, C)`` in, ``(B, Q, C)`` out; ``memory`` holds the cross-attention's keywords."""
        query = self.attention(
            query, key=query, value=query, attn_mask=attn_mask, key_padding_mask=query_padding_mask)
        if self.crossattention is not None:
            query = self.crossattention(query, **memory)
        return self.output_query(self.intermediate_query(query), query)


@MODELS.register_module()
class Blip2QueryDecoder(BaseModule):
    """BLIP-2's Q-Former without its text branch: BERT layers whose queries read the image in every n-th layer.

    A decoder as :class:`SceneQueryDecoder` is, of another make: the queries may be wider than the memory, which enters
    cross-attention as key and value alike, features and position code together; queries have no position of their own,
    only their content. Reference points stay where they are.

    The parameters have the names and shapes of transformers' ``Blip2QFormerModel``, and the result is the same. Its
    weights come in by ``init_cfg=dict(type='Blip2QFormerInit', checkpoint=...)`` or
    :func:`~.blip2_weights.load_blip2_weights`.

    Args:
        num_layers: Number of layers.
        embed_dims: Channels C of the queries.
        memory_dims: Channels of the memory: those of the neck; 1408 for BLIP-2's own image encoder.
        num_heads: Number of heads; must divide C.
        feedforward_channels: Hidden channels of the feed-forward network.
        cross_attention_frequency: Layers 0, n, 2n ... have cross-attention.
        attn_drop: Dropout of the attention weights.
        drop: Dropout of the queries that come in and of each block's output.
        encode_reference_points: Tell the queries their place: a two-layer MLP on the sine embedding of their reference
            points is added to them before the first LayerNorm. Not part of BLIP-2.
        with_cp: Recompute each layer in the backward pass instead of keeping its activations.
    """

    def __init__(self,
                 num_layers: int = 12,
                 embed_dims: int = 768,
                 memory_dims: int = 256,
                 num_heads: int = 12,
                 feedforward_channels: int = 3072,
                 cross_attention_frequency: int = 2,
                 attn_drop: float = 0.1,
                 drop: float = 0.1,
                 encode_reference_points: bool = False,
                 with_cp: bool = False,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if embed_dims % num_heads:
            raise ValueError(f'num_heads={num_heads} does not divide embed_dims={embed_dims}.')
        if cross_attention_frequency < 1:
            raise ValueError('cross_attention_frequency=n puts cross-attention into layers 0, n, 2n ...: it must be at '
                             f'least 1, got {cross_attention_frequency}.')
        if encode_reference_points and embed_dims % 4:
            raise ValueError(f'encode_reference_points needs embed_dims divisible by 4 (half of it in sine and cosine '
                             f'for each axis), got {embed_dims}.')
        self.embed_dims = embed_dims
        self.memory_dims = memory_dims
        self.with_cp = with_cp
        self.layernorm = nn.LayerNorm(embed_dims, eps=LAYER_NORM_EPS)
        self.dropout = nn.Dropout(drop)
        self.encoder = nn.ModuleDict(dict(layer=nn.ModuleList(
            Blip2Layer(embed_dims, memory_dims, num_heads, feedforward_channels,
                       index % cross_attention_frequency == 0, attn_drop, drop) for index in range(num_layers))))
        self.position_mlp = nn.Sequential(
            nn.Linear(3 * (embed_dims // 2), embed_dims), nn.ReLU(),
            nn.Linear(embed_dims, embed_dims)) if encode_reference_points else None

    def init_weights(self) -> None:
        """As BERT: normal with standard deviation 0.02; then ``init_cfg``, if given."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        super().init_weights()

    def forward(self,
                query: Tensor,
                reference_points: Tensor,
                key: Tensor,
                value: Tensor,
                key_pos: Tensor,
                spatial_shapes: Tensor,
                level_start_index: Tensor,
                key_padding_mask: Tensor | None = None,
                attn_mask: Tensor | None = None,
                cameras: dict[str, Tensor] | None = None,
                level_shapes: tuple[tuple[int, int], ...] | None = None,
                query_padding_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Decode.

        Args:
            query: ``(B, Q, C)`` content.
            reference_points: ``(B, Q, 3)`` in [0, 1].
            key: Not used, nor is ``key_pos``: they are keywords of every decoder.
            value: ``(B, K, memory_dims)``, the memory: features with their position code added.
            key_pos: Not used.
            spatial_shapes: ``(N*L, 2)`` int64, (Hl, Wl) of each camera and level: handed on, for attention maps.
            level_start_index: ``(N*L,)``, likewise.
            key_padding_mask: ``(B, K)`` bool, True at keys to ignore.
            attn_mask: ``(Q, Q)`` bool, True where queries must not see each other, or float, added to the logits.
            cameras: Likewise.
            level_shapes: L pairs (Hl, Wl) of Python integers, likewise.
            query_padding_mask: ``(B, Q)`` bool, True at queries that stand for nothing: no other sees them.

        Returns:
            ``(num_layers, B, Q, C)``, the queries after every layer, and ``(num_layers, B, Q, 3)``, for each layer the
            reference points that came in.

        Raises:
            ValueError: If the queries or the memory have another width.
        """
        self._check_widths(query, value)
        memory = dict(
            key=value,
            value=value,
            spatial_shapes=spatial_shapes,
            level_start_index=level_start_index,
            key_padding_mask=key_padding_mask,
            cameras=cameras or {},
            level_shapes=level_shapes)
        if self.position_mlp is not None:
            query = query + self.position_mlp(sine_embedding(reference_points, self.embed_dims // 2).to(query.dtype))
        query = self.dropout(self.layernorm(query))
        states = []
        for layer in self.encoder['layer']:
            arguments = (query, attn_mask, memory, query_padding_mask)
            if self.with_cp and torch.is_grad_enabled():
                query = checkpoint(layer, *arguments, use_reentrant=False)
            else:
                query = layer(*arguments)
            states.append(query)
        return torch.stack(states), reference_points.expand(len(states), -1, -1, -1)

    def _check_widths(self, query: Tensor, memory: Tensor) -> None:
        if query.shape[-1] != self.embed_dims:
            raise ValueError(f'Blip2QueryDecoder has queries of {self.embed_dims} channels, got {query.shape[-1]}: set '
                             f'decoder.embed_dims={query.shape[-1]} and a decoder.num_heads that divides it; or, to '
                             f'keep {self.embed_dims}, the same width everywhere behind the images: '
                             f'scene_queries.embed_dims={self.embed_dims}, bbox_head.embed_dims={self.embed_dims}, '
                             f'projector.in_channels={self.embed_dims}, and denoising.embed_dims={self.embed_dims} if '
                             'there is any.')
        if memory.shape[-1] != self.memory_dims:
            raise ValueError(f'Blip2QueryDecoder was built for a memory of {self.memory_dims} channels, got '
                             f'{memory.shape[-1]}: set decoder.memory_dims={memory.shape[-1]}, the channels of the '
                             'neck.')
