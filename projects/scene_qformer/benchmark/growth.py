"""How a model's cost grows, one axis at a time."""
from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from mmengine.config import Config

from ..evaluation.complexity import count_flops
from ..fresh_model import build_fresh_model
from ..random_batch import random_batch
from .model import Frames, as_it_is
from .timing import Timing, time_ways


@dataclass(frozen=True)
class Point:
    """A model of one size."""

    axis: str
    value: str
    is_default: bool
    timing: Timing
    operations: int  # floating-point operations of a frame


# What a value of each axis changes: entries of the model's config, number of cameras, side of the images in pixels.
AXES: dict[str, tuple[Sequence[int], Callable[[int], dict[str, Any]]]] = {
    'cameras': ((1, 3, 6, 12), lambda value: dict(cameras=value)),
    'image side, pixels': ((224, 336, 448, 672), lambda value: dict(side=value)),
    'queries = tokens': ((128, 256, 512, 1024), lambda value: {'scene_queries.num_queries': value}),
    'decoder layers': ((3, 6, 12), lambda value: {'decoder.num_layers': value}),
}
DEFAULT = dict(cameras=6, side=336)


def measure_growth(cfg: Config, rounds: int, device: str = 'cpu',
                   report: Callable[[str], None] = lambda line: None) -> list[Point]:
    """Time forward passes of fresh models, float32, batch 1; the default stands in every axis, measured once.

    Args:
        cfg: The default.
        rounds: Timed passes of each.
        device: ``cpu`` or ``cuda:0``.
        report: Takes lines of progress.
    """
    calls: dict[tuple[str, int], Callable[[], object]] = {}
    default_of = {axis: _default(cfg, axis) for axis in AXES}
    default = _call(cfg, {}, device)
    for axis, (values, change) in AXES.items():
        for value in values:
            calls[axis, value] = default if value == default_of[axis] else _call(cfg, change(value), device)
    operations = {place: count_flops(call) for place, call in calls.items()}
    distinct = {str(place): call for place, call in calls.items() if call is not default}
    timings = time_ways({'default': default, **distinct}, rounds, device, report=report)
    return [Point(axis, str(value), calls[axis, value] is default, timings.get(str((axis, value)), timings['default']),
                  operations[axis, value]) for axis, value in calls]


def _default(cfg: Config, axis: str) -> int:
    return {'cameras': DEFAULT['cameras'], 'image side, pixels': DEFAULT['side'],
            'queries = tokens': cfg.model.scene_queries.num_queries,
            'decoder layers': cfg.model.decoder.num_layers}[axis]


def _call(cfg: Config, change: dict[str, Any], device: str) -> Callable[[], object]:
    torch.manual_seed(0)
    sizes = {key: change.get(key, value) for key, value in DEFAULT.items()}
    changed = cfg.copy()
    changed.merge_from_dict({f'model.{key}': value for key, value in change.items() if key not in DEFAULT})
    changed.merge_from_dict(_for_cameras(changed, sizes['cameras']))
    model = build_fresh_model(changed.model).to(device).eval()
    data = model.data_preprocessor(random_batch(sizes['cameras'], (sizes['side'], sizes['side'])))
    return as_it_is(model, Frames(data['inputs']['imgs'].to(device), data['data_samples']))


def _for_cameras(cfg: Config, number: int) -> dict[str, Any]:
    """Camera IDs are as many as cameras."""
    encodings = cfg.model.positional_encoding.get('encodings', [])
    return {f'model.positional_encoding.encodings.{index}.num_cameras': number
            for index, encoding in enumerate(encodings) if encoding.type == 'CameraIDEncoding'}


def to_markdown(points: Sequence[Point]) -> str:
    """A line for each axis, and where the cost of a unit grows."""
    lines = ['| axis | ' + 'ms (GFLOP) at each value, the default in bold |', '|---|---|']
    for axis in dict.fromkeys(point.axis for point in points):
        cells = []
        for point in points:
            if point.axis == axis:
                text = f'{point.value}: {1e3 * point.timing.median:,.0f} ({point.operations / 1e9:,.0f})'
                cells.append(f'**{text}**' if point.is_default else text)
        lines.append(f'| {axis} | {"; ".join(cells)} |')
    return '\n'.join(lines) + '\n'


def to_json(points: Sequence[Point], machine: Mapping[str, str]) -> str:
    """All numbers, unrounded."""
    return json.dumps(dict(machine=dict(machine), points=[
        dict(asdict(point), median=point.timing.median) for point in points]), indent=1) + '\n'
