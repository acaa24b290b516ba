"""Random numbers that follow from where a training is, and from nothing that happened before.

A training that is to go on exactly as if it had never stopped must draw the same numbers after the stop. Instead of
carrying the state of every generator of every process in each checkpoint, the generators are seeded anew by a key:
before each step by (seed, rank, iteration), before each sample by (seed, epoch, index). So it makes no difference what
drew numbers in between (a validation, the start of data loading workers), which worker loads a sample, or how many
there are.
"""
from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_generators(*key: int, devices: bool = True) -> None:
    """Seed Python's, numpy's and torch's generators by a key of numbers that are not negative.

    Args:
        *key: Any numbers. Keys that differ in one give unrelated streams: ``numpy.random.SeedSequence`` mixes them.
        devices: Seed the generators of GPUs as well.
    """
    words = np.random.SeedSequence(key).generate_state(8)
    np.random.seed(words[:4])
    random.seed(words[4:6].tobytes())
    seed = int(words[6]) << 32 | int(words[7])
    if devices:
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Seed the generators of the CPU for a while; afterwards they go on where they were."""
    before = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
    seed_generators(*key, devices=False)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.default_generator.set_state(before[2])
