"""Augmentation that depends on the sample and the epoch alone, not on who loads it, or what was loaded before.

Workers of a data loader draw from generators of their own, so with mmengine's seeding a sample's augmentation depends
on the number of workers, on which one loads it, and on how often they were started. Here the sampler hands out indices
that carry what to seed the generators with; they travel to the workers like any number.
"""
from __future__ import annotations

from typing import Any

from mmdet3d.registry import DATASETS

from ..seeding import seeded


class SampleIndex(int):
    """An index into a dataset, with the key that its random numbers are seeded by.

    Args:
        index: Of the sample.
        key: Numbers that are not negative, such as (seed, epoch, index).
    """

    key: tuple[int, ...]

    def __new__(cls, index: int, key: tuple[int, ...]) -> SampleIndex:
        made = super().__new__(cls, index)
        made.key = key
        return made

    def __reduce__(self) -> tuple:
        return type(self), (int(self), self.key)


class SeededSamples:
    """Mix-in of datasets, in front of their base: samples at a :class:`SampleIndex` are loaded under its key."""

    seeds_samples = True

    def __getitem__(self, idx: int) -> Any:
        if not isinstance(idx, SampleIndex):
            return super().__getitem__(idx)  # type: ignore[misc]
        with seeded(*idx.key):
            return super().__getitem__(int(idx))  # type: ignore[misc]


@DATASETS.register_module()
class SeededDataset:
    """Any dataset, or wrapper of datasets, seeded sample by sample.

    Args:
        dataset: Config of the dataset.
    """

    seeds_samples = True

    def __init__(self, dataset: dict) -> None:
        self.dataset = DATASETS.build(dataset)

    def __getitem__(self, idx: int) -> Any:
        if not isinstance(idx, SampleIndex):
            return self.dataset[idx]
        with seeded(*idx.key):
            return self.dataset[int(idx)]

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def metainfo(self) -> dict:
        """Of the dataset."""
        return self.dataset.metainfo

    def full_init(self) -> None:
        """Read the dataset, if it can be put off."""
        if hasattr(self.dataset, 'full_init'):
            self.dataset.full_init()

    def get_data_info(self, idx: int) -> dict:
        """Of the dataset."""
        return self.dataset.get_data_info(idx)
