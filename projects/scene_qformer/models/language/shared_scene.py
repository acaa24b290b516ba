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
from torch import Tensor, nn

from .chat import TokenizedText
from .logits import logits_at
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
    """The segments after the splice, ``(B, T)`` int64, right padded with ``PADDING``."""
    rows = [[PREFIX] * (num_scene_tokens - 1) * row.text.input_ids.count(IMAGE_TOKEN_INDEX) + row.segments
            for row in shared]
    longest = max(len(row) for row in rows)
    return torch.tensor([row + [PADDING] * (longest - len(row)) for row in rows])


def separate_segments(segments: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Mask and places that make side by side as good as apart.

    Args:
        segments: ``(B, T)`` int64, as of :func:`splice_segments`.
        dtype: Of the mask.

    Returns:
        ``attention_mask`` ``(B, 1, T, T)``, to be added to attention logits: 0, or the lowest number of the dtype; and
        ``position_ids`` ``(B, T)``.
    """
    query, key = segments[:, :, None], segments[:, None, :]
    place = torch.arange(segments.shape[1], device=segments.device)
    seen = (place[:, None] >= place) & ((key == PREFIX) | (key == query))  # padding sees padding: no empty row
    mask = torch.zeros(seen.shape, dtype=dtype, device=segments.device)
    mask = mask.masked_fill(~seen, torch.finfo(dtype).min)
    return mask[:, None], (seen.sum(-1) - 1) * (segments != PADDING)


@torch.no_grad()
def check_sharing_is_exact(llm: nn.Module) -> None:
    """Compare two texts side by side with the same apart, on this very model.

    Raises:
        ValueError: If the results differ, as this family ignores the mask or the positions; or would differ on longer
            texts, as it sees only so far back.
    """
    window = getattr(llm.config, 'sliding_window', None)
    if window is not None:
        raise ValueError(f'share_scene_tokens=True is not for {type(llm).__name__} with sliding_window={window}: the '
                         'mask that keeps texts apart would replace that of the window. Leave '
                         'share_scene_tokens=False.')
    embed_tokens = llm.get_input_embeddings()
    weight = embed_tokens.weight
    prefix, first, second = (embed_tokens(torch.arange(start, start + length, device=weight.device) % len(weight))
                             for start, length in ((0, 3), (3, 2), (5, 2)))
    segments = torch.tensor([[0] * 3 + [1] * 2 + [2] * 2], device=weight.device)
    mask, position_ids = separate_segments(segments, weight.dtype)
    apart = torch.cat([logits_at(
        llm, torch.tensor([3, 4], device=weight.device), inputs_embeds=torch.cat((prefix, text))[None],
        attention_mask=torch.ones(1, 5, dtype=torch.long, device=weight.device),
        position_ids=torch.arange(5, device=weight.device)[None])[0].float() for text in (first, second)])
    problem: Exception | None = None
    try:
        shared = logits_at(
            llm, torch.tensor([3, 4, 5, 6], device=weight.device), attention_mask=mask, position_ids=position_ids,
            inputs_embeds=torch.cat((prefix, first, second))[None])[0].float()
        difference = ((shared - apart).abs().mean() / apart.std(-1).mean()).item()
    except (ValueError, RuntimeError, IndexError, TypeError) as error:  # of a mask of a shape that it does not know
        problem, difference = error, float('inf')
    if not difference <= (1e-4 if weight.dtype == torch.float32 else 0.1):  # nor NaN
        raise ValueError('share_scene_tokens=True gives other results than separate sequences on '
                         f'{type(llm).__name__}: it does not take a mask of four dimensions, or no position ids. Leave '
                         'share_scene_tokens=False.') from problem
