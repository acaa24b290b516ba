"""How long forward passes take, of several models side by side."""
from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from mmengine.model import BaseModel


@torch.inference_mode()
def time_forward(models: Mapping[str, BaseModel], batch: dict, rounds: int = 15) -> dict[str, np.ndarray]:
    """Seconds of mode ``predict`` in evaluation mode, without preprocessing.

    The models take turns, in another order each round: what else the machine does falls on all of them alike. (One
    after the other, the last would be measured minutes after the first.)

    Args:
        models: Models by name; on one device.
        batch: What their data preprocessors take.
        rounds: Timed passes of each, after one that is not timed.

    Returns:
        ``(rounds,)`` seconds by name.
    """
    inputs = {name: model.eval().data_preprocessor(batch, training=False) for name, model in models.items()}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    rng = np.random.default_rng(0)
    for index in range(rounds + 1):
        for name in _shuffled(list(models), rng):
            start = _now()
            models[name](**inputs[name], mode='predict')
            if index:
                seconds[name].append(_now() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def _shuffled(names: Sequence[str], rng: np.random.Generator) -> list[str]:
    return [names[index] for index in rng.permutation(len(names))]


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
