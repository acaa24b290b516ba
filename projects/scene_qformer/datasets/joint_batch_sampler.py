"""Batches that several processes share, such that together they train as one process with the joint batch would."""
from __future__ import annotations

import copy
import logging
from collections.abc import Iterator

from mmengine.dataset import DefaultSampler
from mmengine.dist import get_dist_info
from mmengine.logging import print_log
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import BatchSampler


@DATA_SAMPLERS.register_module()
class JointBatchSampler(BatchSampler):
    """Deals every sample out once an epoch, and every step some to each process.

    ``DefaultSampler`` alone repeats samples until processes have equally many. Here the epoch's order is cut into joint
    batches of ``processes * batch_size``, and each of these is dealt out: the last may give a process one sample less
    than another. 11 samples, batch size 3::

        one process      0 1 2 | 3 4 5 | 6 7 8 | 9 10
        two processes    0 2 4 | 6 8 10               joint batches  0-5 | 6-10
                         1 3 5 | 7 9

    A process cannot go without: where fewer samples than processes would be left, the last two joint batches are cut
    anew, in halves. 13 samples, two processes::

                         0 2 4 | 6 8 | 10 12          joint batches  0-5 | 6-9 | 10-12
                         1 3 5 | 7 9 | 11

    Only where that cannot be (``batch_size=1``, or fewer samples than processes) are some repeated, from the
    beginning of the order, and the log says how many.

    Epochs can be entered in the middle where the sampler's can, as ``ResumableSampler``'s: what is left of the order is
    cut as it would have been.

    In a config: ``train_dataloader=dict(batch_sampler=dict(type='JointBatchSampler'), batch_size=..., sampler=...)``.

    Args:
        sampler: A ``DefaultSampler``, which gives the order of an epoch; here it is that of all processes together.
        batch_size: Samples a process.
        drop_last: Leave out what does not fill a joint batch.

    Raises:
        TypeError: If the sampler is another, whose samples would be dealt out twice.
        ValueError: If an epoch would have no step.
    """

    def __init__(self, sampler: DefaultSampler, batch_size: int, drop_last: bool = False) -> None:
        if not isinstance(sampler, DefaultSampler):
            raise TypeError('JointBatchSampler deals samples out to processes itself, and takes the order of a '
                            f'DefaultSampler, not of {type(sampler).__name__}: that one deals them out, too, or has no '
                            'end. Set batch_sampler=None beside it.')
        super().__init__(sampler, batch_size, drop_last)
        self.rank, self.world_size = get_dist_info()
        self.num_samples = len(sampler.dataset)
        self.sizes, self.num_repeated = joint_sizes(self.num_samples, batch_size, self.world_size, drop_last)
        if not self.sizes:
            raise ValueError(f'An epoch would have no step: {self.num_samples} samples for {self.world_size} processes '
                             f'with batch_size={batch_size}, and drop_last={drop_last}. Set drop_last=False, or lower '
                             'batch_size, or give the dataset more frames.')
        if self.num_repeated:
            print_log(f'{self.num_samples} samples for {self.world_size} processes with batch_size={batch_size}: '
                      f'{self.num_repeated} come twice in an epoch, so that no process goes without in the last step.',
                      'current', logging.WARNING)

    def joint_batches(self, position: int = 0) -> list[int]:
        """Sizes of the joint batches from a position in the epoch on, in samples of all processes."""
        if not position:
            return self.sizes
        return joint_sizes(self.num_samples - position, self.batch_size, self.world_size, self.drop_last)[0]

    def __iter__(self) -> Iterator[list[int]]:
        position = getattr(self.sampler, 'position', 0)
        whole = copy.copy(self.sampler)
        whole.rank, whole.world_size, whole.total_size, whole.position = 0, 1, self.num_samples, 0
        order = list(whole)
        sizes = self.joint_batches(position)
        while len(order) < position + sum(sizes):
            order += order[:position + sum(sizes) - len(order)]
        for size in sizes:
            yield order[position + self.rank:position + size:self.world_size]
            position += size

    def __len__(self) -> int:
        """Steps of an epoch."""
        return len(self.sizes)


def joint_sizes(num_samples: int, batch_size: int, world_size: int, drop_last: bool = False) -> tuple[list[int], int]:
    """Sizes of the joint batches of an epoch, none smaller than ``world_size``; and how many samples are repeated."""
    full = batch_size * world_size
    sizes = [full] * (num_samples // full)
    left = num_samples % full
    if drop_last or not left:
        return sizes, 0
    if left >= world_size:
        return [*sizes, left], 0
    if sizes and batch_size > 1:
        shared = sizes.pop() + left
        return [*sizes, shared - shared // 2, shared // 2], 0
    return [*sizes, world_size], world_size - left
