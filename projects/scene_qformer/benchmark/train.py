"""A training step in several ways: precision, optimizer, recomputed activations."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper

from ..fresh_model import build_fresh_model
from ..random_batch import random_batch_like
from .table import Table
from .timing import WITHOUT_BFLOAT16, time_ways, times_bfloat16

WRAPPERS = {'cpu': dict(type='BFloat16OptimWrapper'), 'cuda': dict(type='AmpOptimWrapper', dtype='bfloat16')}
AIMED = 'bfloat16, fused'
# By name: bfloat16, fused optimizer, parts whose activations are computed again in the backward pass.
WAYS: dict[str, tuple[bool, bool, tuple[str, ...]]] = {
    'float32': (False, False, ()),
    'bfloat16': (True, False, ()),
    AIMED: (True, True, ()),
    'the same, decoder recomputed': (True, True, ('decoder', )),
    'the same, backbone too': (True, True, ('decoder', 'backbone'))}


def train_table(cfg: Config, batch_size: int, rounds: int, device: str = 'cpu', aim: float | None = None,
                title: str = '', report: Callable[[str], None] = lambda line: None) -> Table:
    """Time steps of a config's training: forward, backward, optimizer; images and boxes are random.

    Args:
        cfg: Of a model with a head.
        batch_size: Frames a step.
        rounds: Timed steps of each way.
        device: ``cpu`` or ``cuda:0``.
        aim: Times as fast as the baseline.
        title: Of the model.
        report: Takes lines of progress.
    """
    batch = random_batch_like(cfg, batch_size)
    baseline = f'float32, {cfg.optim_wrapper.optimizer.type}'
    calls = {baseline if name == 'float32' else name: _step(variant(cfg, *way, device), batch, device)
             for name, way in ways_on(device).items()}
    timings = time_ways(calls, rounds, device, warmup=2, report=report)
    facts = ['a step: normalisation, forward, losses, backward, optimizer',
             *(() if times_bfloat16(device) else (WITHOUT_BFLOAT16, ))]
    if device == 'cpu':  # the C library hands memory of one step to the next: what it takes anew says nothing
        timings = {name: replace(timing, peak_bytes=None) for name, timing in timings.items()}
    else:
        facts.append('the peak is without weights and optimizer state, which all ways have alike')
    images = batch['inputs']['img'][0]
    return Table(
        title=f'{title or "Training"}: {batch_size} x {len(images)} images of {images.shape[-1]}x{images.shape[-2]}',
        timings=timings, baseline=baseline, samples=batch_size, unit='frame',
        aims={} if aim is None or AIMED not in calls else {AIMED: aim}, facts=facts)


def ways_on(device: str) -> dict[str, tuple[bool, bool, tuple[str, ...]]]:
    """:data:`WAYS`, in float32 alone where bfloat16 is not worth timing."""
    if times_bfloat16(device):
        return WAYS
    return {name.replace('bfloat16', 'float32'): (False, fused, recomputed)
            for name, (_, fused, recomputed) in WAYS.items()}


def variant(cfg: Config, bfloat16: bool, fused: bool, recomputed: tuple[str, ...], device: str) -> Config:
    """A copy that trains in one of the ways."""
    changed = cfg.copy()
    changed.merge_from_dict(dict(
        model={part: dict(with_cp=True) for part in recomputed},
        optim_wrapper=dict(WRAPPERS[torch.device(device).type] if bfloat16 else {}, optimizer=dict(fused=fused))))
    return changed


def _step(cfg: Config, batch: dict, device: str) -> Callable[[], object]:
    """A step that trains a model of its own."""
    torch.manual_seed(0)
    trained: BaseModel = build_fresh_model(cfg.model).to(device).train()
    optim_wrapper = build_optim_wrapper(trained, cfg.optim_wrapper)
    return lambda: trained.train_step(batch, optim_wrapper)
