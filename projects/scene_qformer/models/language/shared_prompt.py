"""Answers to many questions about one frame: its scene tokens are read once, and the questions go on from their keys.

:mod:`.shared_scene` is the same for training, where a mask keeps the questions apart. Here each question has a row of
its own, and the keys and values of what it begins with are copied from its frame's. Padding stands between::

    scene, read once a frame     question
    s0 s1 s2                     .  a0 a1     mask 1 1 1 0 1 1, positions 0 1 2 . 3 4
    s0 s1 s2                     b0 b1 b2     mask 1 1 1 1 1 1, positions 0 1 2 3 4 5
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from .logits import call_causal_lm
from .splice import IMAGE_TOKEN_INDEX, SplicedText
from .text_rows import TextRow


class SharedPrompt(NamedTuple):
    """Prompts, and what the language model has read of them."""

    prompt: SplicedText  # whole prompts, padded in the middle
    cache: Any  # transformers' cache of the first places of every prompt


def can_share(llm: nn.Module, options: Mapping[str, Any]) -> bool:
    """Whether ``generate`` with these options goes on from a cache.

    Beams would need copies of it, and some kinds of cache are made by ``generate`` alone. What the options leave open,
    the model's own settings say.
    """
    def value(name: str, default: Any) -> Any:
        own = getattr(llm.generation_config, name, None)
        return options[name] if options.get(name) is not None else default if own is None else own

    return bool(value('use_cache', True)) and value('num_beams', 1) == 1 and not value('cache_implementation', None)


def shared_length(rows: Sequence[TextRow]) -> int:
    """How many ids, the placeholder of the scene tokens the last of them, all prompts begin with; 0 if they differ."""
    ids = rows[0].text.input_ids
    length = ids.index(IMAGE_TOKEN_INDEX) + 1 if IMAGE_TOKEN_INDEX in ids else 0
    for row in rows:
        if row.text.input_ids[:length] != ids[:length] or IMAGE_TOKEN_INDEX in row.text.input_ids[length:]:
            return 0
    return length


def cut_rows(rows: Sequence[TextRow], length: int) -> tuple[list[TextRow], list[TextRow], list[int]]:
    """The first ``length`` ids of each frame, the rest of each row, and to which of the former each row belongs."""
    def part(row: TextRow, ids: slice) -> TextRow:
        return row._replace(text=type(row.text)(row.text.input_ids[ids], row.text.learned[ids]))

    first = {row.frame: part(row, slice(length)) for row in rows}
    place = {frame: index for index, frame in enumerate(first)}
    return list(first.values()), [part(row, slice(length, None)) for row in rows], [place[row.frame] for row in rows]


def read_once(llm: nn.Module, prefix: SplicedText, rest: SplicedText, owners: Sequence[int]) -> SharedPrompt:
    """Read F prefixes of one length, and hand each of R rows its own.

    Args:
        llm: A causal language model of transformers.
        prefix: ``(F, P, D)``, without padding.
        rest: ``(R, T, D)``, left padded.
        owners: For each row the number of its prefix.
    """
    index = torch.tensor(owners, device=prefix.inputs_embeds.device)
    any_place = index.new_zeros(1)  # of the logits, which nobody reads
    cache = call_causal_lm(llm, any_place, use_cache=True, inputs_embeds=prefix.inputs_embeds,
                           attention_mask=prefix.attention_mask, position_ids=prefix.position_ids).past_key_values
    cache.batch_select_indices(index)
    mask = torch.cat((prefix.attention_mask[index], rest.attention_mask), dim=1)
    return SharedPrompt(SplicedText(
        inputs_embeds=torch.cat((prefix.inputs_embeds[index], rest.inputs_embeds), dim=1), attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1) * mask, labels=None), cache)
