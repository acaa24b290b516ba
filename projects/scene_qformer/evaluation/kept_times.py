"""Times of forward passes, kept in a file: what was timed in the same way is not timed again."""
from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.model import BaseModel

from .forward_time import time_forward


def time_or_recall(models: Mapping[str, BaseModel], configs: Mapping[str, Config], batch: dict, rounds: int,
                   note: Path) -> dict[str, list[float]]:
    """Seconds of the forward passes of all models, by name; see :func:`time_forward`.

    Args:
        models: Models by name; on one device.
        configs: Their configs, by the same names.
        batch: What the models take.
        rounds: Timed passes of each.
        note: File in which times are kept. It holds the last ones only, as times are compared side by side.
    """
    digest = _digest(models, configs, batch, rounds)
    kept = json.loads(note.read_text()) if note.is_file() else {}
    if kept.get('settings') != digest:
        print(f'timing {len(models)} models in turn, {rounds} rounds', flush=True)
        times = time_forward(models, batch, rounds)
        kept = dict(settings=digest, seconds={name: values.tolist() for name, values in times.items()})
        note.write_text(json.dumps(kept) + '\n')
    return kept['seconds']


def _digest(models: Mapping[str, BaseModel], configs: Mapping[str, Config], batch: dict, rounds: int) -> str:
    """Of all that decides a time, but for what else the machine does."""
    device = next(next(iter(models.values())).parameters()).device
    settings = dict(
        rounds=rounds,
        models={name: repr(cfg.model) for name, cfg in configs.items()},
        images=[list(images.shape) for images in batch['inputs']['img']],  # (N, 3, H, W) of every sample
        classes={name: list(cfg.test_dataloader.dataset.metainfo.classes) for name, cfg in configs.items()},
        device=[str(device), _device_name(device)],
        torch=torch.__version__,
        threads=torch.get_num_threads())
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _device_name(device: torch.device) -> str:
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    return f'{platform.machine()} {torch.backends.cpu.get_cpu_capability()}'
