"""Attention among texts side by side that computes only the pairs that see each other.

:mod:`.shared_scene` rules the other pairs out by a mask; of 64 scene tokens and 20 questions of 25 tokens these are six
of seven. Here the texts' places attend twice, to the prefix and to their own text, and the two softmaxes become one::

    lse = logaddexp(lse_prefix, lse_own)
    out = exp(lse_prefix - lse) out_prefix + exp(lse_own - lse) out_own

where ``lse`` is the logarithm of a softmax's denominator. Backward needs no more than the joint ``out`` and ``lse`` for
each part, as in ring attention (https://arxiv.org/abs/2310.01889). It computes in float32: on short texts PyTorch's
backward on CPU is several times slower in bfloat16.

Families that take transformers' attention functions get it as ``attn_implementation='shared_scene'``; the layout of the
texts travels with the mask, as not all families hand other arguments on to their layers. Without a layout this is
PyTorch's own attention; with dropout, too, under the mask that it stands for. Elsewhere than on a CPU there is no
layout, but that mask.
"""
from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .shared_scene import PADDING, PREFIX, separate_positions, separate_segments

NAME = 'shared_scene'
_LAYOUT = 'shared_layout'  # attribute of a mask
_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class SharedLayout:
    """Which texts lie where after the prefix.

    Args:
        segments: ``(B, T)`` int64, as of :func:`.shared_scene.splice_segments`.

    Attributes:
        prefix: P, the length of what all texts of a row begin with; 0 if rows differ in it.
        places: ``(N, L)`` int64, for the N texts of all rows the places of their tokens among the ``B (T - P)`` after
            the prefix; a text's last place once more where it is shorter than L.
        real: ``(N, L)`` bool, False where it is shorter.
        origin: ``(B (T - P), )`` int64, the inverse of ``places``: where in ``N L`` a place's token is; 0 for padding.
        padding: ``(B (T - P), )`` bool.
        one_a_row: Whether every row is a single text, padded on the right: no place sees padding before itself.
    """

    def __init__(self, segments: Tensor) -> None:
        self.segments = segments
        self._mask: Tensor | None = None
        lengths = (segments == PREFIX).sum(1)
        same = bool((lengths == lengths[0]).all()) and bool((segments[:, :lengths[0]] == PREFIX).all())
        self.prefix = int(lengths[0]) if same else 0
        self.one_a_row = bool(((segments == segments[:, :1]) | (segments == PADDING)).all())
        texts = segments[:, self.prefix:]
        rows = torch.arange(len(texts), device=texts.device)[:, None]
        self.padding = (texts == PADDING).flatten()
        number = (rows * (texts.max() + 1) + texts).flatten()[~self.padding]  # of the text, over all rows
        _, text, length = number.unique_consecutive(return_inverse=True, return_counts=True)
        tokens = (~self.padding).nonzero()[:, 0]
        start = length.cumsum(0) - length
        step = torch.arange(int(length.max()), device=texts.device)
        self.real = step < length[:, None]
        self.places = tokens[start[:, None] + step.minimum(length[:, None] - 1)]
        self.origin = torch.zeros(len(self.padding), dtype=torch.int64, device=texts.device)
        self.origin[tokens] = text * len(step) + torch.arange(len(tokens), device=texts.device) - start[text]

    def mask(self, dtype: torch.dtype) -> Tensor:
        """``(B, 1, T, T)``, made once for all layers; the readable way to the same results."""
        if self._mask is None or self._mask.dtype != dtype:
            self._mask = separate_segments(self.segments, dtype)
        return self._mask

    def fold(self, values: Tensor) -> Tensor:
        """From ``(B, H, T - P, ...)`` to ``(N, H, L, ...)``: a row for each text."""
        return values.transpose(1, 2).flatten(0, 1)[self.places].transpose(1, 2)

    def unfold(self, values: Tensor, padding: float = 0.) -> Tensor:
        """The inverse, with a number for padding."""
        flat = values.transpose(1, 2).flatten(0, 1)[self.origin]
        flat.masked_fill_(self.padding.view(-1, *[1] * (flat.dim() - 1)), padding)
        return flat.unflatten(0, (len(self.segments), -1)).transpose(1, 2)


def shared_scene_attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
                           dropout: float = 0., scaling: float | None = None, **kwargs: Any) -> tuple[Tensor, None]:
    """An attention function of transformers.

    Args:
        module: The layer.
        query: ``(B, H, T, D)``.
        key: ``(B, H', T, D)``, H' a divisor of H.
        value: As ``key``.
        attention_mask: Of :func:`inputs_apart`; or any other, or none.
        dropout: Probability.
        scaling: Of the logits; None for ``1 / sqrt(D)``.
        **kwargs: For PyTorch's attention.

    Returns:
        ``(B, T, H, D)`` in the query's dtype; no attention weights.
    """
    from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

    layout: SharedLayout | None = getattr(attention_mask, _LAYOUT, None)
    if layout is None or dropout or not (layout.prefix or layout.one_a_row):
        mask = attention_mask if layout is None else layout.mask(query.dtype)
        return sdpa_attention_forward(module, query, key, value, mask, dropout=dropout, scaling=scaling, **kwargs)
    groups = query.shape[1] // key.shape[1]
    inputs = query.float(), repeat_kv(key, groups).float(), repeat_kv(value, groups).float()
    with torch.autocast('cpu', enabled=False):  # which would take bfloat16
        out = (F.scaled_dot_product_attention(*inputs, is_causal=True, scale=scaling) if layout.one_a_row else
               _SharedAttention.apply(*inputs, layout, scaling))
    return out.to(query.dtype).transpose(1, 2), None


def use_shared_attention(llm: nn.Module) -> None:
    """Make it a model's attention, where its family lets one choose and PyTorch's is chosen now."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if llm._supports_attention_backend and llm.config._attn_implementation == 'sdpa':
        AttentionInterface.register(NAME, shared_scene_attention)
        AttentionMaskInterface.register(NAME, sdpa_mask)  # of texts that share nothing, and of generation
        llm.set_attn_implementation(NAME)


def inputs_apart(llm: nn.Module, segments: Tensor, dtype: torch.dtype) -> dict[str, Any]:
    """What keeps a model's texts apart.

    Args:
        llm: Of transformers, maybe inside peft's wrapper.
        segments: ``(B, T)`` int64, as of :func:`.shared_scene.splice_segments`.
        dtype: Of the mask.

    Returns:
        ``position_ids`` ``(B, T)``, and ``attention_mask`` ``(B, 1, T, T)``; on a CPU, for a model that has this
        module's attention, one number in the place of the mask, which carries the layout.
    """
    position_ids = separate_positions(segments)
    if llm.config._attn_implementation != NAME or segments.device.type != 'cpu':
        return dict(attention_mask=separate_segments(segments, dtype), position_ids=position_ids)
    return dict(attention_mask=layout_as_mask(SharedLayout(segments), dtype), position_ids=position_ids)


def layout_as_mask(layout: SharedLayout, dtype: torch.dtype) -> Tensor:
    """What :func:`shared_scene_attention` takes for the mask, and families for one that needs no change.

    It is NaN all over: were the layout lost on the way, as any operation on the mask would lose it, all results would
    be NaN, and none wrong.
    """
    batch, length = layout.segments.shape
    mask = torch.full((), torch.nan, dtype=dtype, device=layout.segments.device).expand(batch, 1, length, length)
    setattr(mask, _LAYOUT, layout)
    return mask


class _SharedAttention(torch.autograd.Function):
    """Three calls of PyTorch's flash attention: prefix to prefix, texts to prefix, each text to itself."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, layout: SharedLayout,
                scaling: float | None) -> Tensor:
        first, rest = slice(layout.prefix), slice(layout.prefix, None)
        prefix = [each[:, :, first] for each in (query, key, value)]
        texts = [layout.fold(each[:, :, rest]) for each in (query, key, value)]
        of_prefix, lse_of_prefix = _forward(*prefix, 0., True, scale=scaling)
        out, lse = _forward(query[:, :, rest], *prefix[1:], 0., False, scale=scaling)
        own, own_lse = _forward(*texts, 0., True, scale=scaling)
        own_lse = layout.unfold(own_lse, padding=-torch.inf)
        joint = torch.logaddexp(lse, own_lse)
        out = out * (lse - joint).exp()[..., None] + layout.unfold(own) * (own_lse - joint).exp()[..., None]
        ctx.save_for_backward(*prefix, query[:, :, rest], *texts, of_prefix, lse_of_prefix, out, joint)
        ctx.layout, ctx.scaling = layout, scaling
        return torch.cat((of_prefix, out), dim=2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        prefix, queries, texts, (of_prefix, lse_of_prefix, out, lse) = saved[:3], saved[3], saved[4:7], saved[7:]
        layout: SharedLayout = ctx.layout
        part = partial(_backward, dropout_p=0., scale=ctx.scaling)
        of_texts = grad[:, :, layout.prefix:]
        among_prefix = part(grad[:, :, :layout.prefix], *prefix, of_prefix, lse_of_prefix, is_causal=True)
        to_prefix = part(of_texts, queries, *prefix[1:], out, lse, is_causal=False)
        filled = ~layout.real[:, None]  # places that stand in for those of a shorter text: of no weight
        own = part(layout.fold(of_texts).masked_fill_(filled[..., None], 0.), *texts, layout.fold(out),
                   layout.fold(lse).masked_fill_(filled, torch.inf), is_causal=True)
        of_query, of_key, of_value = map(layout.unfold, own)
        return (torch.cat((among_prefix[0], of_query.add_(to_prefix[0])), dim=2),
                torch.cat((among_prefix[1].add_(to_prefix[1]), of_key), dim=2),
                torch.cat((among_prefix[2].add_(to_prefix[2]), of_value), dim=2), None, None)
