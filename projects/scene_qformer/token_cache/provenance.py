"""What the tokens of a cache were made from, and what of a config and of a checkpoint matters to them.

Tokens depend on the parts that images go through on their way, on the weights of those, and on the test pipeline.
Heads, schedules, folders, the language model and, in the space ``queries``, the projector may change: the tokens stay.
"""
from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from ..dataset_config import innermost_dataset, is_transform
from ..durable_file import file_sha256
from ..engine.safe_checkpoint import load_from_safe_file

# What is cached, and the parts that come after it.
SPACES = {'queries': ('projector', ), 'tokens': ()}
_NO_INFLUENCE = ('bbox_head', 'aux_heads', 'denoising', 'language_model', 'frozen_parts', 'train_cfg', 'test_cfg')
_SHOWN = 10  # differences that an error lists


class StaleTokenCacheError(ValueError):
    """A cache was made from another config, checkpoint or data set than the one at hand."""


@dataclass(frozen=True)
class Provenance:
    """What the tokens of a cache are and what they were made from."""

    space: str  # 'queries': what the projector reads, (Q, C); 'tokens': behind the projector, (Q, D)
    dtype: str  # as safetensors is to hold them: 'float32', 'float16' or 'bfloat16'
    config: str  # path, for people
    settings: dict  # what of the config matters
    checkpoint: str  # path, for people
    checkpoint_sha256: str  # of the file
    weights_sha256: str  # of those weights in it that matter
    file_settings_sha256: str = ''  # of what matters in the file of that path, which options may have changed

    @classmethod
    def of(cls, cfg: Config, checkpoint: str | Path, space: str, dtype: str) -> Provenance:
        """Read config and checkpoint.

        Raises:
            ValueError: If there is no such space or type, or the checkpoint holds none of the weights.
            FileNotFoundError: If there is no checkpoint.
        """
        _check_space(space)
        if not isinstance(getattr(torch, dtype, None), torch.dtype):
            raise ValueError(f'Expected dtype float32, float16 or bfloat16, got {dtype!r}.')
        weights = weights_sha256(checkpoint, space)
        plain = token_settings(Config.fromfile(cfg.filename), space) if cfg.filename else None
        return cls(space, dtype, str(cfg.filename or 'no file'), token_settings(cfg, space), str(checkpoint),
                   file_sha256(checkpoint), weights, settings_sha256(plain) if plain else '')

    @classmethod
    def from_index(cls, index: Mapping) -> Provenance:
        """As an index holds it."""
        return cls(index['space'], index['dtype'], index['config']['path'], index['config']['settings'],
                   index['checkpoint']['path'], index['checkpoint']['sha256'], index['checkpoint']['weights_sha256'],
                   index['config'].get('file_settings_sha256', ''))

    def to_index(self) -> dict:
        """What :meth:`from_index` reads."""
        return dict(
            space=self.space,
            dtype=self.dtype,
            config=dict(path=self.config, sha256=settings_sha256(self.settings), settings=self.settings,
                        file_settings_sha256=self.file_settings_sha256),
            checkpoint=dict(path=self.checkpoint, sha256=self.checkpoint_sha256, weights_sha256=self.weights_sha256))

    @property
    def fingerprint(self) -> str:
        """Equal for caches whose shards may stand side by side."""
        return settings_sha256([self.space, self.dtype, self.settings, self.weights_sha256])

    def differences(self, other: Provenance) -> list[str]:
        """In what the tokens of another cache or model differ from these, a line each; paths do not count."""
        lines = [f'{name}: {getattr(self, name)} there, {getattr(other, name)} here' for name in ('space', 'dtype')
                 if getattr(self, name) != getattr(other, name)]
        lines += settings_differences(self.settings, other.settings)
        if self.weights_sha256 != other.weights_sha256:
            lines.append(f'weights: of {self.checkpoint} there, of {other.checkpoint} here '
                         f'(sha256 {self.weights_sha256[:12]}... and {other.weights_sha256[:12]}...)')
        return lines


def plain_test_dataset(cfg: Config) -> dict:
    """The config of the test set, in which a loader keeps no images: each is used once.

    Raises:
        ValueError: If the test set is several, as in a ``ConcatDataset``.
    """
    dataset = copy.deepcopy(innermost_dataset(cfg.test_dataloader.dataset))
    for transform in dataset['pipeline']:
        if is_transform(transform, 'LoadSurroundImages'):
            transform.pop('cache', None)
    return dataset


def token_settings(cfg: Config, space: str) -> dict:
    """The part of a config that the tokens depend on, of lists, dicts, numbers and strings alone."""
    without = (*_NO_INFLUENCE, *_check_space(space))
    dataset = plain_test_dataset(cfg)
    return _plain(dict(
        model={name: part for name, part in cfg.model.items() if name not in without},
        pipeline=dataset['pipeline'],
        cam_names=dataset.get('cam_names')))


def settings_differences(old: dict, new: dict) -> list[str]:
    """Entries in which two settings differ, by their dotted names, a line each."""
    before, now = dict(_leaves(old)), dict(_leaves(new))
    return [f'{name}: {before.get(name, "nothing")!r} there, {now.get(name, "nothing")!r} here'
            for name in sorted(before.keys() | now.keys()) if before.get(name, ...) != now.get(name, ...)]


def shown(differences: list[str]) -> str:
    """The first of them, below each other."""
    rest = len(differences) - _SHOWN
    return '\n  '.join(('', *differences[:_SHOWN])) + (f'\n  and {rest} more' if rest > 0 else '')


def weights_sha256(checkpoint: str | Path, space: str) -> str:
    """Digest of the weights of a checkpoint that the tokens depend on: names, types, shapes and values.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is none, or holds no such weights.
    """
    content = load_from_safe_file(str(checkpoint), map_location='cpu')
    return weights_sha256_of(content.get('state_dict', content), space, str(checkpoint))


def weights_sha256_of(weights: Mapping[str, Any], space: str, source: str = 'The checkpoint') -> str:
    """As :func:`weights_sha256`, of weights by name; ``source`` is what an error calls them.

    Raises:
        ValueError: If there are none that tokens depend on.
    """
    without = tuple(f'{part}.' for part in (*_NO_INFLUENCE, *_check_space(space)))
    counting = {name: value for name, value in weights.items()
                if isinstance(value, torch.Tensor) and not name.startswith(without)}
    if not counting:
        raise ValueError(f'{source} holds no weights that scene tokens come from; expected those of backbone, '
                         f'scene_queries and decoder, got {", ".join(sorted(weights)[:3]) or "nothing"}.')
    return tensors_sha256(counting)


def tensors_sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    """Digest of names, types, shapes and values of tensors on the CPU, in whatever order they come."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)};'.encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _check_space(space: str) -> tuple[str, ...]:
    if space not in SPACES:
        raise ValueError(f'Expected one of the spaces {", ".join(SPACES)}, got {space!r}.')
    return SPACES[space]


def _plain(value: Any) -> Any:
    """As JSON gives it back, without the names of files that initialise parts: the checkpoint follows them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items() if key != 'init_cfg'}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)


def _leaves(value: Any, name: str = '') -> Iterable[tuple[str, Any]]:
    if isinstance(value, (dict, list)) and value:
        for key, entry in (value.items() if isinstance(value, dict) else enumerate(value)):
            yield from _leaves(entry, f'{name}.{key}' if name else str(key))
    else:
        yield name, value


def settings_sha256(value: Any) -> str:
    """Digest of what JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
