"""Losses of a batch that several processes share."""
from __future__ import annotations

import torch
from mmengine.dist import all_reduce, get_world_size


def joint_normalizer(count: int) -> float:
    """What each process divides its summed loss by, so that the average over processes is the joint batch's mean.

    Data-parallel training averages gradients over processes. A mean that each process takes for itself would give an
    object on a process with few of them more weight than one on a process with many. So all divide by the same number,
    ``max(sum of the counts, 1) / processes``. With sums ``s``, counts ``n`` and two processes::

        (s0 / n' + s1 / n') / 2 = (s0 + s1) / (n0 + n1)    for n' = (n0 + n1) / 2

    All processes must call it, as often and in the same order: they wait for each other.

    Args:
        count: How many objects, answer tokens ... this process' part of the batch has; may be 0.
    """
    world_size = get_world_size()
    if world_size == 1:
        return float(max(count, 1))
    total = torch.tensor(count, dtype=torch.int64)  # exact, however many there are
    all_reduce(total)
    return max(int(total), 1) / world_size
