"""Weights of transformers' ``Blip2QFormerModel`` for :class:`Blip2QueryDecoder`, by name.

The names are the same, with one rule: in a checkpoint of a whole BLIP-2 model they begin with ``qformer.``. What the
decoder has no place for is told, not dropped in silence. What the Q-Former takes in, BLIP-2's learned queries, lies in
the whole model's checkpoint beside it, and is loaded into :class:`SceneQueries`.
"""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from mmengine.logging import print_log
from mmengine.model import update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

WHOLE_MODEL_PREFIX = 'qformer.'
QUERY_TOKENS = 'query_tokens'
TEXT_BRANCH = re.compile(r'embeddings\.|cls\.|encoder\.layer\.\d+\.(intermediate|output)\.')


class LoadReport(NamedTuple):
    """What :func:`load_blip2_weights` did, by name."""

    loaded: list[str]
    fresh: list[str]  # the decoder's parameters that kept their initial values, as asked or because BLIP-2 has none
    text_branch: list[str]  # weights for which there is no use here: embeddings and feed-forward networks of text
    other_parts: list[str]  # of a whole BLIP-2 model: its image encoder, query tokens, language model ...

    def __str__(self) -> str:
        names = ', '.join(sorted({name.partition('.')[0] for name in self.other_parts}))
        return (f'BLIP-2 weights: {len(self.loaded)} loaded, {len(self.fresh)} left as initialised, not used: '
                f'{len(self.text_branch)} of the text branch, {len(self.other_parts)} of other parts'
                + (f' ({names})' if names else ''))


def load_blip2_weights(decoder: nn.Module, state_dict: Mapping[str, Tensor], fresh: Sequence[str] = ()) -> LoadReport:
    """Copy the weights of a ``Blip2QFormerModel`` into a decoder.

    Args:
        decoder: A :class:`Blip2QueryDecoder`.
        state_dict: Of a ``Blip2QFormerModel``, or of a whole BLIP-2 model that holds one under ``qformer.``.
        fresh: Parts of names; parameters whose name contains one keep their initial values. With a memory of another
            width than the checkpoint's, ``('crossattention.attention.key', 'crossattention.attention.value')``.

    Raises:
        ValueError: If a weight is missing, has another shape, or belongs to a layer that the decoder lacks.
    """
    prefix = WHOLE_MODEL_PREFIX if any(name.startswith(WHOLE_MODEL_PREFIX) for name in state_dict) else ''
    given = {name[len(prefix):]: tensor for name, tensor in state_dict.items() if name.startswith(prefix)}
    wanted = dict(decoder.named_parameters())
    kept = [name for name in wanted
            if name.startswith('position_mlp.') or any(part in name for part in fresh)]
    loaded = [name for name in wanted if name not in kept]

    text_branch = [name for name in given if TEXT_BRANCH.match(name)]
    surplus = [name for name in given if name.startswith('encoder.') and name not in wanted and name not in text_branch]
    missing = [name for name in loaded if name not in given]
    if missing or surplus:
        raise ValueError(
            'These are not the weights of this decoder: the checkpoint lacks '
            f'{_some(missing)}, and has {_some(surplus)}, which the decoder lacks. Set num_layers and '
            "cross_attention_frequency as the checkpoint's config has them; weights of the original LAVIS repository "
            "must be converted by transformers' script first.")
    wrong = [f'{name}: checkpoint {tuple(given[name].shape)}, decoder {tuple(wanted[name].shape)}'
             for name in loaded if given[name].shape != wanted[name].shape]
    if wrong:
        raise ValueError(
            f'{len(wrong)} weights of the checkpoint have another shape: {_some(wrong)}. embed_dims, memory_dims and '
            "feedforward_channels are the hidden_size, encoder_hidden_size and intermediate_size of the checkpoint's "
            'config. To start with a memory of another width, leave out the projections of the memory: '
            "fresh=['crossattention.attention.key', 'crossattention.attention.value'].")
    decoder.load_state_dict({name: given[name] for name in loaded}, strict=False)
    used = {prefix + name for name in (*wanted, *text_branch)}
    return LoadReport(loaded, kept, text_branch, [name for name in state_dict if name not in used])


def load_blip2_query_tokens(scene_queries: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Copy BLIP-2's learned queries into the content of scene queries; reference points, of which it has none, stay.

    Args:
        scene_queries: A :class:`SceneQueries` with ``num_queries`` and ``embed_dims`` as the checkpoint: 32 and 768.
        state_dict: Of a whole BLIP-2 model: it holds ``query_tokens``, ``(1, 32, 768)``.

    Raises:
        ValueError: If there are no such tokens, or they have another shape.
    """
    if QUERY_TOKENS not in state_dict:
        raise ValueError(f'The checkpoint has no {QUERY_TOKENS}; it has {_some(list(state_dict))}. They belong to the '
                         'whole BLIP-2 model, not to its Q-Former: give the file of the whole model.')
    tokens, content = state_dict[QUERY_TOKENS], scene_queries.query_embedding.weight
    if tokens.shape != (1, *content.shape):
        raise ValueError(f'Expected {QUERY_TOKENS} (1, num_queries, embed_dims) = {(1, *content.shape)}, as the scene '
                         f'queries are, got {tuple(tokens.shape)}. Set num_queries and embed_dims as the checkpoint '
                         'has them: 32 and 768 in BLIP-2.')
    with torch.no_grad():
        content.copy_(tokens[0])


def _some(names: Sequence[str], number: int = 3) -> str:
    if not names:
        return 'nothing'
    return ', '.join(names[:number]) + (f' and {len(names) - number} more' if len(names) > number else '')


@WEIGHT_INITIALIZERS.register_module()
class Blip2QFormerInit:
    """``init_cfg`` of a :class:`Blip2QueryDecoder`: start from the weights in a local file.

    Args:
        checkpoint: ``.safetensors`` file or PyTorch checkpoint; nothing is downloaded.
        fresh: As in :func:`load_blip2_weights`.
    """

    def __init__(self, checkpoint: str, fresh: Sequence[str] = ()) -> None:
        self.checkpoint = checkpoint
        self.fresh = fresh

    def __call__(self, module: nn.Module) -> None:
        report = load_blip2_weights(module, _read(self.checkpoint), self.fresh)
        print_log(f'{self.checkpoint}: {report}', logger='current')
        _note(module, self, self.checkpoint)


@WEIGHT_INITIALIZERS.register_module()
class Blip2QueryTokensInit:
    """``init_cfg`` of :class:`SceneQueries`: start from BLIP-2's learned queries in a local file.

    Args:
        checkpoint: Of a whole BLIP-2 model; ``.safetensors`` file or PyTorch checkpoint; nothing is downloaded.
    """

    def __init__(self, checkpoint: str) -> None:
        self.checkpoint = checkpoint

    def __call__(self, module: nn.Module) -> None:
        load_blip2_query_tokens(module, _read(self.checkpoint))
        _note(module, self, self.checkpoint)


def _read(path: str) -> Mapping[str, Tensor]:
    checkpoint = CheckpointLoader.load_checkpoint(path, map_location='cpu')
    return checkpoint.get('state_dict', checkpoint)


def _note(module: nn.Module, initializer: object, path: str) -> None:
    """Tell mmengine's log of initialisations what came from where."""
    if hasattr(module, '_params_init_info'):
        update_init_info(module, init_info=f'{type(initializer).__name__}: load from {path}')
