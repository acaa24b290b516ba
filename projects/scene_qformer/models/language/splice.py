"""Scene tokens into the text: each ``-200`` of ``input_ids`` makes room for a block of them.

The convention is LLaVA's (Liu et al., arXiv 2304.08485; ``prepare_inputs_labels_for_multimodal`` of the authors' code):
a placeholder ``IMAGE_TOKEN_INDEX`` that no vocabulary has, labels ``IGNORE_INDEX`` where nothing is learned. One
sample, Q = 3 scene tokens ``s0 s1 s2``, right padded to 8::

    input_ids       1   -200       5   6   2
    labels       -100   -100    -100   6   2
    ->
    embeddings     e1  s0  s1  s2   e5  e6  e2   0
    labels       -100 -100 -100 -100 -100 6   2 -100
    attention       1   1   1   1    1   1   1   0
    positions       0   1   2   3    4   5   6   0
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

IMAGE_TOKEN_INDEX = -200
IGNORE_INDEX = -100


class SplicedText(NamedTuple):
    """What :func:`splice_scene_tokens` returns; T is the length of the longest sample after the splice."""

    inputs_embeds: Tensor  # (B, T, D), of the embedding's dtype; zeros where padded
    attention_mask: Tensor  # (B, T) int64, 0 where padded
    position_ids: Tensor  # (B, T) int64, counted without the padding; 0 where padded
    labels: Tensor | None  # (B, T) int64, IGNORE_INDEX at scene tokens and padding


def splice_scene_tokens(input_ids: Tensor,
                        scene_tokens: Tensor | Sequence[Tensor] | None,
                        embed_tokens: nn.Module,
                        attention_mask: Tensor | None = None,
                        labels: Tensor | None = None,
                        padding_side: str = 'right') -> SplicedText:
    """Embed text and put scene tokens where the placeholders are.

    As in LLaVA, with two differences: a sample without placeholder takes no block (LLaVA's data give it one, which is
    thrown away), and position ids are always returned.

    Args:
        input_ids: ``(B, T0)`` int64; ``IMAGE_TOKEN_INDEX`` is a placeholder. May lie on the CPU, which saves a
            synchronisation: the results lie where the embedding does.
        scene_tokens: One block for each placeholder, in the order of the placeholders, sample by sample: ``(K, Q, D)``,
            or K blocks ``(Qk, D)`` of any lengths. None: there are no placeholders.
        embed_tokens: The language model's input embedding, with ``weight`` ``(V, D)``.
        attention_mask: ``(B, T0)``; what is 0 or False is dropped before, wherever it stands. None: all counts.
        labels: ``(B, T0)`` int64, not shifted: a token's label is the token itself, or ``IGNORE_INDEX``.
        padding_side: Where shorter samples are filled up: 'right' for training, 'left' for generation.

    Raises:
        ValueError: If there are not as many blocks as placeholders, an id is not in the vocabulary, a width differs
            from the model's, or shapes do not belong together.
    """
    vocabulary, width = embed_tokens.weight.shape
    check_shapes(input_ids, attention_mask=attention_mask, labels=labels)
    if padding_side not in ('left', 'right'):
        raise ValueError(f"padding_side must be 'left' or 'right', got {padding_side!r}.")
    kept = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool().to(
        input_ids.device)
    placeholder = kept & (input_ids == IMAGE_TOKEN_INDEX)
    text = kept & ~placeholder
    check_vocabulary(input_ids, text, vocabulary)
    blocks = [] if scene_tokens is None else list(scene_tokens)
    check_blocks(blocks, placeholder.sum(1).tolist(), width)

    # how many places each old token takes, and the first of them
    lengths = kept.long()
    lengths[placeholder] = torch.tensor([len(block) for block in blocks], dtype=torch.long, device=input_ids.device)
    totals = lengths.sum(1)
    total = int(totals.max()) if len(totals) else 0
    padding = total - totals if padding_side == 'left' else torch.zeros_like(totals)
    places = padding[:, None] + lengths.cumsum(1) - lengths

    weight = embed_tokens.weight
    device = weight.device
    text_rows, text_columns = text.nonzero(as_tuple=True)
    text_places = places[text]
    text_embeds = embed_tokens(input_ids[text].to(device))
    inputs_embeds = text_embeds.new_zeros(len(input_ids), total, width)
    inputs_embeds[text_rows.to(device), text_places.to(device)] = text_embeds
    if blocks:
        block_lengths = lengths[placeholder]
        rows = placeholder.nonzero()[:, 0].repeat_interleave(block_lengths)
        within = torch.cat([torch.arange(len(block), device=input_ids.device) for block in blocks])
        columns = places[placeholder].repeat_interleave(block_lengths) + within
        tokens = scene_tokens.flatten(0, 1) if isinstance(scene_tokens, Tensor) else torch.cat(blocks)
        inputs_embeds[rows.to(device), columns.to(device)] = tokens.to(inputs_embeds)

    column = torch.arange(total, device=input_ids.device)
    used = (column >= padding[:, None]) & (column < (padding + totals)[:, None])
    position_ids = (column - padding[:, None]) * used
    new_labels = None
    if labels is not None:
        labels = labels.to(input_ids.device)
        new_labels = labels.new_full((len(input_ids), total), IGNORE_INDEX)
        new_labels[text_rows, text_places] = labels[text]
        new_labels = new_labels.to(device)
    return SplicedText(inputs_embeds, used.long().to(device), position_ids.to(device), new_labels)


def check_shapes(input_ids: Tensor, **others: Tensor | None) -> None:
    """``(B, T0)``, all of them.

    Raises:
        ValueError: If not.
    """
    if input_ids.dim() != 2 or input_ids.is_floating_point():
        raise ValueError(f'Expected input_ids (B, T) of integers, got {tuple(input_ids.shape)} of {input_ids.dtype}. '
                         'Add the batch dimension with input_ids[None].')
    for name, tensor in others.items():
        if tensor is not None and tensor.shape != input_ids.shape:
            raise ValueError(f'Expected {name} of the shape of input_ids {tuple(input_ids.shape)}, got '
                             f'{tuple(tensor.shape)}.')


def check_vocabulary(input_ids: Tensor, text: Tensor, vocabulary: int) -> None:
    """Every id that is to be embedded must have an embedding.

    Raises:
        ValueError: If one has none.
    """
    outside = text & ((input_ids < 0) | (input_ids >= vocabulary))
    if outside.any():
        ids = sorted(set(input_ids[outside].tolist()))
        raise ValueError(
            f'input_ids holds {ids[:5]}, but the language model has embeddings for 0 to {vocabulary - 1}, and the '
            f'placeholder of scene tokens is {IMAGE_TOKEN_INDEX}. Use the tokenizer of this model; if tokens were '
            'added to it, resize the embeddings; mask padding out with attention_mask.')


def check_blocks(blocks: Sequence[Tensor], placeholders: Sequence[int], width: int) -> None:
    """One block of scene tokens for each placeholder, of the language model's width.

    Raises:
        ValueError: If not.
    """
    if len(blocks) != sum(placeholders):
        raise ValueError(
            f'input_ids has {sum(placeholders)} placeholders ({IMAGE_TOKEN_INDEX}), sample by sample '
            f'{list(placeholders)}, but scene_tokens has {len(blocks)} blocks; expected one block for each '
            'placeholder. Put the mark <image> once into every conversation, or give a block for each of its marks.')
    for block in blocks:
        if block.dim() != 2 or block.shape[1] != width:
            raise ValueError(f'Expected scene tokens of the width of the language model, (Q, {width}), got '
                             f'{tuple(block.shape)}. Set out_channels of the projector to {width}.')
