"""The least time that a computation can take on this machine: operations and bytes counted, rates measured on the spot.

The roofline of Williams et al. (https://doi.org/10.1145/1498765.1498785): not less than operations / their highest
rate, nor than bytes that must move / the bandwidth. Of a model, bytes that must move are its weights, once a batch, and
what comes in and goes out; that all else could stay in caches is what makes it a floor.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from ..evaluation.complexity import count_flops
from .timing import time_ways

_ELEMENTS = 2 ** 26  # of the copied array: larger than caches
_SIDES = {'cpu': (512, 1024, 2048), 'cuda': (4096, 8192)}  # of the multiplied matrices; the fastest counts


@dataclass(frozen=True)
class Rates:
    """What the machine can do at best."""

    operations: float  # floating-point operations a second of a large matrix product; a multiply-add is two
    bandwidth: float  # bytes a second that a large copy reads and writes


@dataclass(frozen=True)
class Work:
    """What a computation must do at least."""

    operations: float
    bytes: float

    def seconds(self, rates: Rates) -> float:
        """The floor."""
        return max(self.operations / rates.operations, self.bytes / rates.bandwidth)


def measure_rates(dtype: torch.dtype = torch.float32, device: str = 'cpu', rounds: int = 5) -> Rates:
    """The fastest of some runs each."""
    products: dict[str, Callable[[], object]] = {}
    operations = {}
    for side in _SIDES[torch.device(device).type]:
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        products[str(side)] = partial(torch.matmul, a, b)
        operations[str(side)] = 2 * side ** 3
    rate = max(operations[name] / min(timing.seconds)
               for name, timing in time_ways(products, rounds, device).items())
    source = torch.ones(_ELEMENTS, device=device)
    target = torch.empty_like(source)
    copied = time_ways({'copy': lambda: target.copy_(source)}, rounds, device)['copy']
    return Rates(rate, 2 * source.nbytes / min(copied.seconds))


def model_work(model: nn.Module, call: Callable[[], torch.Tensor], inputs_bytes: int) -> Work:
    """Of a forward pass.

    Args:
        model: Whose weights are read once.
        call: The pass.
        inputs_bytes: Of what comes in.
    """
    results: list[torch.Tensor] = []
    operations = count_flops(lambda: results.append(call()))
    weights = sum(value.nbytes for value in (*model.parameters(), *model.buffers()))
    return Work(operations, weights + inputs_bytes + results[0].nbytes)
