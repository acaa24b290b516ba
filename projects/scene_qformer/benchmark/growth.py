"""How a model's cost grows, one axis at a time."""
from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from ..evaluation.complexity import count_flops, count_saved_bytes
from ..fresh_model import build_fresh_model
from ..models.language.libraries import is_installed
from ..models.language.llm_loading import create_causal_lm
from ..models.language.word_tokenizer import build_word_tokenizer
from ..random_batch import random_batch
from .timing import Timing, time_ways

READERS = 'scene tokens, read by a language model'
READER = dict(model_type='llama', hidden_size=512, intermediate_size=1376, num_hidden_layers=8, num_attention_heads=8,
              max_position_embeddings=2048)
READER_TEXT = 32  # words of a question and its answer, behind the scene tokens


@dataclass(frozen=True)
class Point:
    """A model of one size."""

    axis: str
    value: str
    is_default: bool
    timing: Timing
    operations: int  # floating-point operations of a frame
    kept_bytes: int  # activations that a training step's forward pass keeps, a frame


@dataclass(frozen=True)
class _Sized:
    """A model of one size, and what is timed."""

    model: nn.Module
    forward: Callable[[], object]  # with gradients where they are on

    def __call__(self) -> object:
        with torch.no_grad():
            return self.forward()

    def kept_bytes(self) -> int:
        """In training: batch norm computes with the batch, and nothing else is left out."""
        self.model.train()
        try:
            return count_saved_bytes(self.model, self.forward)
        finally:
            self.model.eval()


# What a value of each axis changes: entries of the model's config, number of cameras, side of the images in pixels.
AXES: dict[str, tuple[Sequence[int], Callable[[int], dict[str, Any]]]] = {
    'cameras': ((1, 3, 6, 12), lambda value: dict(cameras=value)),
    'image side, pixels': ((224, 336, 448, 672), lambda value: dict(side=value)),
    'queries = scene tokens': ((128, 256, 512, 1024), lambda value: {'scene_queries.num_queries': value}),
    'decoder layers': ((3, 6, 12), lambda value: {'decoder.num_layers': value}),
}
TOKENS = (64, 128, 256, 512, 1024)
DEFAULT = dict(cameras=6, side=336)


def measure_growth(cfg: Config, rounds: int, device: str = 'cpu',
                   report: Callable[[str], None] = lambda line: None) -> list[Point]:
    """Time forward passes of fresh models, float32, batch 1; the default stands in every axis, measured once.

    The last axis is of what comes after: a language model, Llama of 8 layers and 512 channels with random weights,
    that reads so many scene tokens and 32 words. It is left out where transformers is not installed.

    Args:
        cfg: The default.
        rounds: Timed passes of each.
        device: ``cpu`` or ``cuda:0``.
        report: Takes lines of progress.
    """
    calls: dict[tuple[str, int], _Sized] = {}
    default_of = {axis: _default(cfg, axis) for axis in AXES}
    default = _scene_model(cfg, {}, device)
    for axis, (values, change) in AXES.items():
        for value in values:
            calls[axis, value] = default if value == default_of[axis] else _scene_model(cfg, change(value), device)
    if is_installed('transformers'):
        default_of[READERS] = default_of['queries = scene tokens']
        calls.update({(READERS, value): _reader(value, device) for value in TOKENS})
    kept = {place: call.kept_bytes() for place, call in calls.items()}
    operations = {place: count_flops(call) for place, call in calls.items()}
    distinct = {str(place): call for place, call in calls.items() if call is not default}
    timings = time_ways({'default': default, **distinct}, rounds, device, report=report)
    return [Point(axis, str(value), value == default_of[axis], timings.get(str((axis, value)), timings['default']),
                  operations[axis, value], kept[axis, value]) for axis, value in calls]


def _default(cfg: Config, axis: str) -> int:
    return {'cameras': DEFAULT['cameras'], 'image side, pixels': DEFAULT['side'],
            'queries = scene tokens': cfg.model.scene_queries.num_queries,
            'decoder layers': cfg.model.decoder.num_layers}[axis]


def _scene_model(cfg: Config, change: dict[str, Any], device: str) -> _Sized:
    torch.manual_seed(0)
    sizes = {key: change.get(key, value) for key, value in DEFAULT.items()}
    changed = cfg.copy()
    changed.merge_from_dict({f'model.{key}': value for key, value in change.items() if key not in DEFAULT})
    changed.merge_from_dict(_for_cameras(changed, sizes['cameras']))
    model = build_fresh_model(changed.model).to(device).eval()
    data = model.data_preprocessor(random_batch(sizes['cameras'], (sizes['side'], sizes['side'])))
    images, samples = data['inputs']['imgs'].to(device), data['data_samples']
    return _Sized(model, lambda: model(dict(imgs=images), samples, mode='tensor'))


def _reader(num_tokens: int, device: str) -> _Sized:
    torch.manual_seed(0)
    words = build_word_tokenizer(['a few words'])
    model = create_causal_lm(READER, words).to(device)
    embeddings = torch.randn(1, num_tokens + READER_TEXT, READER['hidden_size'], device=device)
    return _Sized(model, lambda: model(inputs_embeds=embeddings, use_cache=False).logits)


def _for_cameras(cfg: Config, number: int) -> dict[str, Any]:
    """Camera IDs are as many as cameras."""
    encodings = cfg.model.positional_encoding.get('encodings', [])
    return {f'model.positional_encoding.encodings.{index}.num_cameras': number
            for index, encoding in enumerate(encodings) if encoding.type == 'CameraIDEncoding'}


def to_markdown(points: Sequence[Point]) -> str:
    """A line for each value; where milliseconds a GFLOP grow along an axis, it costs more than it computes.

    On a CPU a column tells how much the operating system computes for it, on all cores: memory that is new to the
    process, most of all, which it fills with zeros.
    """
    with_peak = any(point.timing.peak_bytes is not None for point in points) and torch.cuda.is_available()
    columns = ['axis', 'value', 'ms', 'GFLOP', 'ms a GFLOP', 'kept in training, MB']
    columns += ['peak in inference, MB'] if with_peak else ['CPU ms of the system']
    lines = ['| ' + ' | '.join(columns) + ' |', '|---|' + '---:|' * (len(columns) - 1)]
    axis = None
    for point in points:
        milliseconds = 1e3 * point.timing.median
        cells = [point.value, f'{milliseconds:,.0f}', f'{point.operations / 1e9:,.1f}',
                 f'{milliseconds / (point.operations / 1e9):.1f}', f'{point.kept_bytes / 1e6:,.0f}']
        cells += [f'{(point.timing.peak_bytes or 0) / 1e6:,.0f}' if with_peak else
                  f'{1e3 * median(point.timing.system_seconds or [0.]):,.0f}']
        cells = [f'**{cell}**' for cell in cells] if point.is_default else cells
        lines.append('| ' + ' | '.join(['' if point.axis == axis else point.axis, *cells]) + ' |')
        axis = point.axis
    return '\n'.join(lines) + '\n'


def to_json(points: Sequence[Point], machine: Mapping[str, str]) -> str:
    """All numbers, unrounded."""
    return json.dumps(dict(machine=dict(machine), points=[
        dict(asdict(point), median=point.timing.median) for point in points]), indent=1) + '\n'
