"""Processes that train together must be given the same: configs, seeds and versions are compared."""
from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import all_gather_object, broadcast_object_list, get_rank, get_world_size

_ADDRESS = re.compile(r' at 0x[0-9a-fA-F]+')


class ProcessGroupError(RuntimeError):
    """Processes did not find each other, or are not alike."""


def settings_of(cfg: Config) -> dict[str, str]:
    """What all processes must have in common: entries of the config, by their path, and versions."""
    python = '.'.join(platform.python_version_tuple()[:2])  # patches of it differ in nothing that is computed
    settings = {'the version of Python': python, 'the version of PyTorch': torch.__version__}

    def flatten(value: Any, path: str) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                flatten(inner, f'{path}.{key}' if path else str(key))
        else:
            settings[path] = _described(value)

    flatten(cfg.to_dict(), '')
    return settings


def compare_settings(settings: dict[str, str]) -> None:
    """Different models or seeds on different processes would train to nonsense, or wait for each other for ever.

    Args:
        settings: Of this process.

    Raises:
        ProcessGroupError: On all processes, if some have others than the first.
    """
    if get_world_size() == 1:
        return
    wanted = [settings]
    broadcast_object_list(wanted)
    keys = dict.fromkeys((*wanted[0], *settings))
    differing = [f'{key}: {wanted[0].get(key, "not set")[:80]} on process 0, {settings.get(key, "not set")[:80]} on '
                 f'process {get_rank()}' for key in keys if wanted[0].get(key) != settings.get(key)]
    found = [lines for lines in all_gather_object(differing) if lines]
    if found:
        raise ProcessGroupError('All processes need the same config, seed and versions:\n  ' + '\n  '.join(found[0][:5])
                                + '\nGive all the same command, and the same files on all machines.')


def _described(value: Any) -> str:
    """As ``repr``, but the same in every process: without addresses, and sets in order."""
    if isinstance(value, Mapping):
        return f'{{{_joined(f"{key!r}: {_described(inner)}" for key, inner in value.items())}}}'
    if isinstance(value, list):
        return f'[{_joined(map(_described, value))}]'
    if isinstance(value, tuple):
        return f'({_joined(map(_described, value))})'
    if isinstance(value, (set, frozenset)):  # strings in it lie in another order in every process
        return f'{{{_joined(sorted(map(_described, value)))}}}'
    name = getattr(value, '__qualname__', None)  # of a function or class
    return f'{value.__module__}.{name}' if name else _ADDRESS.sub('', repr(value))


def _joined(parts: Iterable[str]) -> str:
    return ', '.join(parts)
