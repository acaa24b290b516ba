"""A training step in several ways: precision, optimizer, recomputed activations."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper

from ..fresh_model import build_fresh_model
from ..random_batch import random_batch_like
from .table import Table
from .timing import time_ways

BASELINE = 'float32, AdamW'
WRAPPERS = {'cpu': 'BFloat16OptimWrapper', 'cuda': 'AmpOptimWrapper'}


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
    bfloat16 = dict(type=WRAPPERS[torch.device(device).type])
    if device != 'cpu':
        bfloat16['dtype'] = 'bfloat16'
    fused = dict(bfloat16, optimizer=dict(fused=True))
    ways = {
        BASELINE: partial(_step, cfg, {}, {}),
        'bfloat16': partial(_step, cfg, bfloat16, {}),
        'bfloat16, fused AdamW': partial(_step, cfg, fused, {}),
        'the same, decoder recomputed': partial(_step, cfg, fused, dict(decoder=dict(with_cp=True))),
        'the same, backbone too': partial(_step, cfg, fused, dict(decoder=dict(with_cp=True),
                                                                  backbone=dict(with_cp=True)))}
    calls = {name: way(batch, device) for name, way in ways.items()}
    timings = time_ways(calls, rounds, device, warmup=2, report=report)
    images = batch['inputs']['img'][0]
    return Table(
        title=f'{title or "Training"}: {batch_size} x {len(images)} images of {images.shape[-1]}x{images.shape[-2]}',
        timings=timings, baseline=BASELINE, samples=batch_size, unit='frame',
        aims={} if aim is None else {'bfloat16, fused AdamW': aim},
        facts=('a step: normalisation, forward, losses, backward, optimizer; the peak is without weights and optimizer '
               'state, which all ways have alike', ))


def _step(cfg: Config, wrapper: dict, model: dict, batch: dict, device: str) -> Callable[[], object]:
    """A step that trains a model of its own."""
    torch.manual_seed(0)
    changed = cfg.copy()
    changed.merge_from_dict(dict(model=model, optim_wrapper=dict(optimizer=dict(fused=False))))
    changed.merge_from_dict(dict(optim_wrapper=wrapper))
    trained: BaseModel = build_fresh_model(changed.model).to(device).train()
    optim_wrapper = build_optim_wrapper(trained, changed.optim_wrapper)
    return lambda: trained.train_step(batch, optim_wrapper)
