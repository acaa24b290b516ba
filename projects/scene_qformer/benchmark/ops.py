"""Deformable attention: mmcv's operator and those of ``ops/``, forward, and forward with backward."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction, multi_scale_deformable_attn_pytorch
from torch import Tensor

from ..models.surround_sampling import MMCV_HAS_CUDA
from ..ops import reference_deformable_attention, triton_deformable_attention, vectorized_deformable_attention
from .floor import Rates, Work, measure_rates
from .table import Table
from .timing import time_ways

AIM = 2.  # times as fast as mmcv's operator on the same device
HEADS, WIDTH, POINTS = 8, 32, 4  # of each head


@dataclass(frozen=True)
class Case:
    """Sizes of a call."""

    name: str
    batch_size: int
    num_queries: int
    spatial_shapes: tuple[tuple[int, int], ...]  # (Hl, Wl)


CASES = (
    Case('512 queries x 6 cameras, one level of 21x21', 6, 512, ((21, 21), )),
    # the levels of Deformable DETR for an image of 1066x800
    Case('20,000 queries x 4 levels', 1, 20000, ((100, 134), (50, 67), (25, 34), (13, 17))))
Operator = Callable[[Tensor, Tensor, Tensor], Tensor]  # of value, locations, logits


def operators(case: Case, device: str) -> tuple[str, dict[str, Operator]]:
    """The baseline's name, and all ways by name; what depends on the sizes alone is made here, outside of the clock."""
    shapes = torch.tensor(case.spatial_shapes, device=device)
    starts = shapes.prod(-1).cumsum(0) - shapes.prod(-1)

    def mmcv_pytorch(value: Tensor, locations: Tensor, logits: Tensor) -> Tensor:
        return multi_scale_deformable_attn_pytorch(value, shapes, locations, _weights(logits, case))

    def mmcv_cuda(value: Tensor, locations: Tensor, logits: Tensor) -> Tensor:
        return MultiScaleDeformableAttnFunction.apply(value, shapes, starts, locations, _weights(logits, case),
                                                      case.batch_size)

    def ours(function: Callable) -> Operator:
        return lambda value, locations, logits: function(value, case.spatial_shapes, locations, logits)

    twin = {'reference twin': ours(reference_deformable_attention)}
    if device == 'cpu':
        return 'mmcv, PyTorch', {'mmcv, PyTorch': mmcv_pytorch, **twin,
                                 'vectorized': ours(vectorized_deformable_attention)}
    baseline = ('mmcv, CUDA', mmcv_cuda) if MMCV_HAS_CUDA else ('mmcv, PyTorch', mmcv_pytorch)
    return baseline[0], {baseline[0]: baseline[1], **twin, 'Triton': ours(triton_deformable_attention)}


def _weights(logits: Tensor, case: Case) -> Tensor:
    return logits.softmax(-1).unflatten(-1, (len(case.spatial_shapes), POINTS))


def ops_tables(rounds: int, device: str = 'cpu', report: Callable[[str], None] = lambda line: None,
               cases: tuple[Case, ...] = CASES) -> list[Table]:
    """For every case a table forward and one with backward, in float32.

    Args:
        rounds: Timed calls.
        device: ``cpu`` or ``cuda:0``.
        report: Takes lines of progress.
        cases: Sizes.
    """
    rates = measure_rates(device=device)
    return [_table(case, backward, rates, rounds, device, report) for case in cases for backward in (False, True)]


def _table(case: Case, backward: bool, rates: Rates, rounds: int, device: str,
           report: Callable[[str], None]) -> Table:
    inputs = _inputs(case, device, backward)
    baseline, ways = operators(case, device)
    grad = torch.randn(case.batch_size, case.num_queries, HEADS * WIDTH, device=device)

    def call(operator: Operator) -> object:
        output = operator(*inputs)
        return torch.autograd.grad(output, inputs, grad) if backward else output

    moved = sum(each.nbytes for each in inputs) + grad.nbytes
    return Table(
        title=f'{case.name}, forward{" and backward" if backward else ""}',
        timings=time_ways({name: partial(call, way) for name, way in ways.items()}, rounds, device, warmup=2,
                          report=report),
        baseline=baseline, unit='call', aims={list(ways)[-1]: AIM},
        # backward reads what forward read and the gradient, and writes a gradient of each input
        floor=Work(0, moved * (3 if backward else 1)).seconds(rates))


def _inputs(case: Case, device: str, requires_grad: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Points near those of a grid, as a trained model's are, some beyond the border."""
    torch.manual_seed(0)
    keys = sum(height * width for height, width in case.spatial_shapes)
    levels = len(case.spatial_shapes)
    centers = torch.rand(case.batch_size, case.num_queries, 1, 1, 1, 2)
    value = torch.randn(case.batch_size, keys, HEADS, WIDTH)
    offsets = 0.1 * torch.randn(case.batch_size, case.num_queries, HEADS, levels, POINTS, 2)
    logits = torch.randn(case.batch_size, case.num_queries, HEADS, levels * POINTS)
    value, locations, logits = (each.to(device).requires_grad_(requires_grad)
                                for each in (value, centers + offsets, logits))
    return value, locations, logits
