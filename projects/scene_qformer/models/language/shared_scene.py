"""Questions about one frame in one sequence: its scene tokens are read once, not once for each question.

The text up to the scene tokens is the same for all questions of a frame. What follows is laid side by side, and the
attention mask keeps it apart; places are counted from the scene tokens on. Two questions after Q = 2 scene tokens::

               s0 s1 | a0 a1 | b0 b1     position
    s0          1  .   .  .    .  .         0
    s1          1  1   .  .    .  .         1
    a0          1  1   1  .    .  .         2
    a1          1  1   1  1    .  .         3
    b0          1  1   .  .    1  .         2
    b1          1  1   .  .    1  1         3

The results are those of separate sequences, for families that take a mask of four dimensions and position ids.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .chat import TokenizedText
from .splice import IMAGE_TOKEN_INDEX

PREFIX, PADDING = 0, -1


class SharedText(NamedTuple):
    """Texts side by side after what they begin with in common."""

    text: TokenizedText
    segments: list[int]  # for each token PREFIX, or the number of its text, from 1 on


def share_prefix(texts: Sequence[TokenizedText]) -> list[SharedText]:
    """Put those of a frame's texts together that begin with the same prefix, up to the scene tokens.

    A text without scene tokens, or that learns something of its prefix (an earlier answer), stays alone.
    """
    groups: dict[tuple, list[TokenizedText]] = {}
    for number, text in enumerate(texts):
        length = _prefix_length(text)
        key = (number, ) if not length or any(text.learned[:length + 1]) else tuple(text.input_ids[:length])
        groups.setdefault(key, []).append(text)
    shared = []
    for members in groups.values():
        length = _prefix_length(members[0])
        ids, learned, segments = members[0].input_ids[:length], members[0].learned[:length], [PREFIX] * length
        for number, text in enumerate(members, 1):
            ids = ids + text.input_ids[length:]
            learned = learned + text.learned[length:]
            segments = segments + [number] * (len(text.input_ids) - length)
        shared.append(SharedText(TokenizedText(ids, learned), segments))
    return shared


def _prefix_length(text: TokenizedText) -> int:
    return text.input_ids.index(IMAGE_TOKEN_INDEX) + 1 if IMAGE_TOKEN_INDEX in text.input_ids else 0


def splice_segments(shared: Sequence[SharedText], num_scene_tokens: int) -> Tensor:
    """The segments after the splice, ``(B, T)`` int64, right padded with ``PADDING``.

    Args:
        shared: Texts; without scene tokens no matter how many those are.
        num_scene_tokens: That take the place of a placeholder.
    """
    rows = [[PREFIX] * (num_scene_tokens - 1) * row.text.input_ids.count(IMAGE_TOKEN_INDEX) + row.segments
            for row in shared]
    longest = max(len(row) for row in rows)
    return torch.tensor([row + [PADDING] * (longest - len(row)) for row in rows])


def separate_segments(segments: Tensor, dtype: torch.dtype) -> Tensor:
    """The mask that makes side by side as good as apart.

    Args:
        segments: ``(B, T)`` int64, as of :func:`splice_segments`.
        dtype: Of the mask.

    Returns:
        ``(B, 1, T, T)``, to be added to attention logits: 0, or the lowest number of the dtype.
    """
    seen = _seen(segments)
    mask = torch.zeros(seen.shape, dtype=dtype, device=segments.device)
    return mask.masked_fill_(~seen, torch.finfo(dtype).min)[:, None]


def separate_positions(segments: Tensor) -> Tensor:
    """The ``position_ids`` ``(B, T)`` to it: how many places each one sees before itself."""
    return (_seen(segments).sum(-1) - 1) * (segments != PADDING)


def _seen(segments: Tensor) -> Tensor:
    """Which key each query sees, ``(B, T, T)`` bool."""
    query, key = segments[:, :, None], segments[:, None, :]
    place = torch.arange(segments.shape[1], device=segments.device)
    return (place[:, None] >= place) & ((key == PREFIX) | (key == query))  # padding sees padding: no empty row
