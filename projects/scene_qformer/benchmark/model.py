"""From normalised images to scene tokens: one model in several ways, with the error of its tokens."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from ..fresh_model import build_fresh_model
from ..models.scene_qformer import SceneQFormer
from ..optimization import optimize_model
from ..random_batch import random_batch_like
from .floor import measure_rates, model_work
from .table import Table
from .timing import WITHOUT_BFLOAT16, time_ways, times_bfloat16

BASELINE = 'float32, attention weights computed'


@dataclass(frozen=True)
class Frames:
    """What a model is called with."""

    images: Tensor  # (B, N, 3, H, W), normalised
    samples: list  # with the camera matrices


Way = Callable[[SceneQFormer, Frames], Callable[[], Tensor]]  # makes of a model and frames a call that returns tokens


def random_frames(cfg: Config, model: nn.Module, batch_size: int, device: str = 'cpu') -> Frames:
    """Random images and a ring of cameras, of the config's sizes."""
    data = model.data_preprocessor(random_batch_like(cfg, batch_size))
    return Frames(data['inputs']['imgs'].to(device), data['data_samples'])


def with_weights(cfg: Config) -> Config:
    """A copy whose global attention is mmcv's, which computes attention weights that nobody reads.

    Names and parameters are the same. Deformable attention has no such weights, and stays.
    """
    changed = cfg.copy()
    changed.merge_from_dict({f'model.decoder.{name}.type': 'MultiheadAttention'
                             for name in ('self_attn_cfg', 'cross_attn_cfg')
                             if cfg.model.decoder[name].type == 'GlobalAttention'})
    return changed


def model_table(cfg: Config, batch_size: int, rounds: int, device: str = 'cpu',
                ways: Mapping[str, Way] | None = None,
                aims: Mapping[str, float] | None = None, title: str = '',
                report: Callable[[str], None] = lambda line: None) -> Table:
    """Time a fresh model of a config.

    Args:
        cfg: Of a model that reads images.
        batch_size: Frames a call.
        rounds: Timed calls.
        device: ``cpu`` or ``cuda:0``.
        ways: By name; beside the baseline and the model as the config says.
        aims: Times as fast as the baseline, by way.
        title: Of the model.
        report: Takes lines of progress.
    """
    torch.manual_seed(0)
    model = build_fresh_model(cfg.model).to(device).eval()
    plain = build_fresh_model(with_weights(cfg).model).to(device).eval()
    plain.load_state_dict(model.state_dict())
    frames = random_frames(cfg, model, batch_size, device)
    calls = {BASELINE: as_it_is(plain, frames), 'float32': as_it_is(model, frames),
             **{name: way(model, frames) for name, way in (ways or {}).items()}}
    timings = time_ways(calls, rounds, device, report=report)  # before any other call: graphs are recorded by the first
    reference = calls[BASELINE]().float()
    notes = {name: f'{relative_error(call().float(), reference):.1e}' for name, call in calls.items()
             if name != BASELINE}
    work = model_work(model, calls['float32'], frames.images.nbytes)
    half = replace(work, bytes=work.bytes / 2)
    dtypes = [torch.float32, torch.bfloat16] if times_bfloat16(device) else [torch.float32]
    rates = {dtype: measure_rates(dtype, device) for dtype in dtypes}
    _, cameras, _, height, width = frames.images.shape
    parameters = sum(value.numel() for value in model.parameters())
    return Table(
        title=f'{title or "Model"}: {batch_size} x {cameras} images of {width}x{height}',
        timings=timings, baseline=BASELINE, samples=batch_size, unit='frame', floor=work.seconds(rates[torch.float32]),
        floors={name: half.seconds(rates[torch.bfloat16]) if 'bfloat16' in name and torch.bfloat16 in rates else None
                for name in calls if 'bfloat16' in name or 'INT8' in name},
        aims=aims or {}, notes=notes, notes_title='error of tokens',
        facts=(f'{parameters / 1e6:.1f} M parameters, {work.operations / 1e9:,.0f} GFLOP a call',
               'this machine multiplies matrices at '
               + ' and '.join(f'{rate.operations / 1e9:,.0f} GFLOP/s in {str(dtype).removeprefix("torch.")}'
                              for dtype, rate in rates.items())
               + f', and copies {rates[torch.float32].bandwidth / 1e9:.0f} GB/s; each floor is that of its precision',
               "error of tokens: root of the mean square, over that of the baseline's tokens; weights and images are "
               'random, INT8 is calibrated on other random images',
               'peak memory: of the first call, without the weights',
               *(() if torch.bfloat16 in rates else (WITHOUT_BFLOAT16, ))))


@torch.no_grad()
def _tokens(model: nn.Module, frames: Frames) -> Tensor:
    return model(frames.images, frames.samples, mode='tensor')


def as_it_is(model: nn.Module, frames: Frames) -> Callable[[], Tensor]:
    """The model, called."""
    return lambda: _tokens(model, frames)


def in_bfloat16(model: nn.Module, frames: Frames) -> Callable[[], Tensor]:
    """The model, called under autocast."""
    def call() -> Tensor:
        with torch.autocast(frames.images.device.type, dtype=torch.bfloat16):
            return _tokens(model, frames)
    return call


def optimised(**options: Any) -> Way:
    """The model as ``SceneTokenizer(optimize=dict(...))`` makes it; INT8 is calibrated on other images."""
    def way(model: SceneQFormer, frames: Frames) -> Callable[[], Tensor]:
        others = [frames.images.flip(0, 1, -1).roll(1, 2)]  # of other places and colours
        return as_it_is(optimize_model(model, options, calibration=others), frames)
    return way


def ways_on(device: str, batch_size: int) -> tuple[dict[str, Way], dict[str, float]]:
    """What is worth timing there, and by how many times it should be faster than the baseline."""
    if device == 'cpu':
        half = {'optimize, bfloat16': optimised(precision='bfloat16'),
                'optimize, bfloat16, compiled': optimised(precision='bfloat16', capture='compile')}
        ways = {'optimize, float32': optimised(precision='float32'),
                'optimize, float32, compiled': optimised(precision='float32', capture='compile'),
                **(half if times_bfloat16(device) else {}),
                'optimize, INT8': optimised(precision='int8')}
        wanted = {'optimize, float32, compiled': 2., 'optimize, bfloat16': 2., 'optimize, INT8': 3.}
        return ways, {name: aim for name, aim in wanted.items() if name in ways}
    aims = {1: 10., 32: 6.}
    best = 'optimize, bfloat16, CUDA graph'
    return ({'bfloat16 by autocast': in_bfloat16,
             'optimize, float32, CUDA graph': optimised(precision='float32', capture='cuda_graph'),
             'optimize, bfloat16': optimised(precision='bfloat16', capture='none'),
             'optimize, bfloat16, compiled': optimised(precision='bfloat16', capture='compile'),
             best: optimised(precision='bfloat16', capture='cuda_graph')},
            {best: aims[batch_size]} if batch_size in aims else {})


def relative_error(values: Tensor, reference: Tensor) -> float:
    """``|values - reference| / |reference|``."""
    return ((values - reference).norm() / reference.norm()).item()
