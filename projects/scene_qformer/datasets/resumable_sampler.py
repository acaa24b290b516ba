"""The order of samples, which can be entered anywhere."""
from __future__ import annotations

from collections.abc import Iterator

import torch
from mmengine.dataset import DefaultSampler
from mmengine.registry import DATA_SAMPLERS

from .seeded_samples import SampleIndex


@DATA_SAMPLERS.register_module()
class ResumableSampler(DefaultSampler):
    """mmengine's ``DefaultSampler``: the same order, but an epoch can be entered in the middle, and samples are seeded.

    All processes count positions in one common order of the epoch, of which each takes its share from a position on::

        order          7 2 9 0 5 8 1 3 6 4     10 samples
        rank 0 of 2    7   9   5   1   6       from position 0
        rank 1 of 2      2   0   8   3   4
        rank 0 of 3            5     3         from position 4, as after two steps of two processes
        rank 1 of 3              8     6
        rank 2 of 3                1     4

    Indices are :class:`SampleIndex` with the key (seed, epoch, index), so that the augmentation of a sample is the same
    whichever process or worker loads it.

    Args:
        dataset: One that seeds its samples: those of this package, or any inside ``SeededDataset``.
        **kwargs: As of ``DefaultSampler``.

    Raises:
        ValueError: If the dataset does not seed its samples, or has none; or the seed is negative.
    """

    def __init__(self, dataset, **kwargs) -> None:
        if not getattr(dataset, 'seeds_samples', False):
            raise ValueError(f'ResumableSampler needs a dataset that seeds its samples, and {type(dataset).__name__} '
                             "does not. Put it into one that does, dataset=dict(type='SeededDataset', dataset=...), or "
                             'use DefaultSampler, with which augmentation depends on workers and restarts.')
        if not len(dataset):
            raise ValueError(f'The {type(dataset).__name__} of ResumableSampler holds no samples: an epoch would have '
                             'no step. Check what it reads (ann_file) and what it leaves out (filter_cfg, indices).')
        super().__init__(dataset, **kwargs)
        if self.seed < 0:
            raise ValueError(f'Expected the seed of ResumableSampler to be at least 0, got {self.seed}.')
        self.position = 0

    def set_position(self, position: int) -> None:
        """Say where the next pass begins.

        Args:
            position: Samples of the epoch that all processes together have had.
        """
        self.position = position

    def __iter__(self) -> Iterator[int]:
        """Indices of this process from the position on."""
        size = len(self.dataset)
        order = torch.arange(size)
        if self.shuffle:
            order = torch.randperm(size, generator=torch.Generator().manual_seed(self.seed + self.epoch))
        rest = max(size - self.position, 0)
        if self.round_up:  # with the first ones again, so that all processes get as many
            rest = -(-rest // self.world_size) * self.world_size
        places = range(self.position + self.rank, self.position + rest, self.world_size)
        for index in (int(order[place % size]) for place in places):
            yield SampleIndex(index, (self.seed, self.epoch, index))
