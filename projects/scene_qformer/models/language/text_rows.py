"""The conversations of a batch, one a row, as long as there is room."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .chat import ChatFormat, TokenizedText
from .splice import IGNORE_INDEX, IMAGE_TOKEN_INDEX


class TextRow(NamedTuple):
    """One conversation of a batch."""

    frame: int  # whose scene tokens it reads
    number: int  # which of the frame's conversations it is
    text: TokenizedText


def training_rows(chat: ChatFormat,
                  batch_text: Sequence[Sequence[Mapping]],
                  scene_tokens: Tensor | None,
                  max_length: int | None) -> list[TextRow]:
    """Whole conversations, cut at the end where there is no room for all.

    Raises:
        ValueError: If a conversation is malformed, or none of its answer would be left.
    """
    rows = []
    for row in _rows(batch_text):
        conversation = batch_text[row.frame][row.number]
        text = chat.training_text(conversation, scene_tokens is not None)
        before_answer = text.input_ids[:text.learned.index(True)]
        check_room(num_places(before_answer, scene_tokens) + 1, max_length, conversation)
        places = num_places(text.input_ids, scene_tokens)
        length = len(text.input_ids) - max(places - (max_length or places), 0)
        rows.append(row._replace(text=TokenizedText(text.input_ids[:length], text.learned[:length])))
    return rows


def prompt_rows(chat: ChatFormat,
                batch_text: Sequence[Sequence[Mapping]],
                scene_tokens: Tensor | None,
                max_length: int | None) -> list[TextRow]:
    """Conversations as far as their last question.

    Raises:
        ValueError: If a conversation is malformed, or there is no room for an answer.
    """
    rows = []
    for row in _rows(batch_text):
        conversation = batch_text[row.frame][row.number]
        ids = chat.prompt(conversation, scene_tokens is not None)
        check_room(num_places(ids, scene_tokens) + 1, max_length, conversation)
        rows.append(row._replace(text=TokenizedText(ids, [False] * len(ids))))
    return rows


def _rows(batch_text: Sequence[Sequence[Mapping]]) -> list[TextRow]:
    return [TextRow(frame, number, TokenizedText([], []))
            for frame, conversations in enumerate(batch_text) for number in range(len(conversations))]


def num_places(ids: Sequence[int], scene_tokens: Tensor | None) -> int:
    """How many places a text takes with its scene tokens."""
    return len(ids) + (0 if scene_tokens is None else ids.count(IMAGE_TOKEN_INDEX) * (scene_tokens.shape[1] - 1))


def stack_rows(rows: Sequence[TextRow]) -> dict[str, Tensor]:
    """``input_ids``, ``attention_mask`` and ``labels`` ``(R, T0)`` int64, right padded."""
    def stack(sequences: Sequence[Sequence[int]], fill: int) -> Tensor:
        longest = max(len(sequence) for sequence in sequences)
        return torch.tensor([[*sequence, *[fill] * (longest - len(sequence))] for sequence in sequences])

    return dict(
        input_ids=stack([row.text.input_ids for row in rows], 0),
        attention_mask=stack([[1] * len(row.text.input_ids) for row in rows], 0),
        labels=stack([[index if learned else IGNORE_INDEX for index, learned in zip(*row.text)] for row in rows],
                     IGNORE_INDEX))


def check_room(places: int, max_length: int | None, conversation: Mapping) -> None:
    """A text must fit, as far as the first token of its answer.

    Raises:
        ValueError: If not.
    """
    if max_length is not None and places > max_length:
        raise ValueError(
            f'Conversation {conversation.get("id")!r} takes {places} places as far as the first token of its answer, '
            f'scene tokens included, but there are {max_length} (max_length, or the max_position_embeddings of the '
            'language model). Use fewer scene queries, shorter history, or a model with more places.')


def check_batch(batch_text: Sequence[Sequence[Mapping]], scene_tokens: Tensor | None, width: int) -> None:
    """B lists of conversations, and the scene tokens of B frames.

    Raises:
        ValueError: If not; or if there is nothing to read.
    """
    if isinstance(batch_text, Mapping) or any(isinstance(frame, (str, Mapping)) for frame in batch_text):
        inner = ', '.join(sorted({type(frame).__name__ for frame in batch_text}))
        raise ValueError('Expected batch_text as a list of B lists of conversations, one list for each frame, got '
                         f'{type(batch_text).__name__} of {inner}.')
    if not any(len(conversations) for conversations in batch_text):
        raise ValueError(f'None of the {len(batch_text)} frames has a conversation. Leave frames without questions out '
                         'of the data set.')
    if scene_tokens is None:
        return
    if scene_tokens.dim() != 3 or scene_tokens.shape[0] != len(batch_text) or scene_tokens.shape[2] != width:
        raise ValueError(
            f'Expected scene tokens (B, Q, D) = ({len(batch_text)}, Q, {width}) for {len(batch_text)} frames and a '
            f'language model of width {width}, got {tuple(scene_tokens.shape)}. Set out_channels of the projector to '
            f'{width}.')
