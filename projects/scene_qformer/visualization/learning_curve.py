"""How training went: loss and validation scores against training time, from the scalars that mmengine logs."""
from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_COLORS = {'loss': '#7a869c', 'mAP': '#e8590c', 'NDS': '#1971c2'}


@dataclass(frozen=True)
class LearningCurve:
    """A training run as mmengine logged it. T log entries of training, V of validation."""

    epochs: np.ndarray  # (T,) the epoch that an entry lies in, counted from 1
    iterations: np.ndarray  # (T,)
    seconds: np.ndarray  # (T,) training time so far, without validation
    loss: np.ndarray  # (T,)
    val_epochs: np.ndarray  # (V,)
    val_seconds: np.ndarray  # (V,) training time so far, without validation
    val_scores: dict[str, np.ndarray]  # metric to (V,), e.g. 'mAP', 'NDS'


def read_learning_curve(work_dir: str | Path, metrics: tuple[str, ...] = ('mAP', 'NDS')) -> LearningCurve:
    """Read ``work_dir/<timestamp>/vis_data/scalars.json`` of one training run, resumed or not.

    Of several files the earlier ones are kept up to the iteration at which the next one starts, so that a resumed run
    continues the curve and a run begun anew in the same folder replaces it. An entry of training stands for all
    iterations since the entry before it, at its logged time per iteration.

    Args:
        work_dir: mmengine's work directory.
        metrics: the last part of the names of the validation scores, e.g. ``mAP`` for
            ``NuScenes metric/pred_instances_3d_NuScenes/mAP``.

    Raises:
        FileNotFoundError: no ``scalars.json`` lies there.
        ValueError: a file is damaged, or holds no entry of training.
    """
    paths = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    if not paths:
        raise FileNotFoundError(f'no <timestamp>/vis_data/scalars.json under {work_dir}: expected the work directory '
                                'of a training run (tools/train.py --work-dir) that has logged at least once')
    records: list[dict] = []
    for path in paths:
        run = _read_json_lines(path)
        first = next((record['step'] for record in run if 'loss' in record), None)
        # entries of validation follow the training that they belong to; their own `step` counts epochs
        keep = next((i for i, record in enumerate(records) if 'loss' in record and first is not None
                     and record['step'] >= first), len(records))
        # a run that resumes at the end of an epoch validates first, perhaps once more
        again = {record.get('step') for record in run[:next((i for i, record in enumerate(run) if 'loss' in record),
                                                            len(run))]}
        records = [record for record in records[:keep] if 'loss' in record or record.get('step') not in again] + run
    if not any('loss' in record for record in records):
        raise ValueError(f'{", ".join(map(str, paths))}: no entry with a loss; the run ended before its first log '
                         'entry (default_hooks.logger.interval in the config)')
    return _to_curve(records, metrics)


def _read_json_lines(path: Path) -> list[dict]:
    lines = path.read_text().splitlines()
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number == len(lines):  # a run that was killed may leave half a line
                warnings.warn(f'{path}: its last line is cut off and is left out', stacklevel=3)
                continue
            raise ValueError(f'{path}, line {number}: expected one JSON object a line, found {line[:60]!r}') from error
    return records


def _to_curve(records: list[dict], metrics: tuple[str, ...]) -> LearningCurve:
    iteration, elapsed = 0, 0.0
    train, validation = [], []
    for record in records:
        if 'loss' in record:
            elapsed += (record['step'] - iteration) * record['time']
            iteration = record['step']
            train.append((record['epoch'], iteration, elapsed, record['loss']))
            continue
        scores = {key.split('/')[-1]: value for key, value in record.items()}
        if any(name in scores for name in metrics):
            validation.append((record['step'], elapsed, *(scores.get(name, np.nan) for name in metrics)))
    epochs, iterations, seconds, loss = np.array(train, dtype=np.float64).T
    val_epochs, val_seconds, *val_scores = np.array(validation, dtype=np.float64).reshape(-1, 2 + len(metrics)).T
    return LearningCurve(epochs, iterations, seconds, loss, val_epochs, val_seconds, dict(zip(metrics, val_scores)))


def draw_learning_curve(curve: LearningCurve,
                        untrained: Mapping[str, float] | None = None,
                        title: str = '',
                        size: tuple[int, int] = (1300, 500)) -> np.ndarray:
    """Loss (left) and validation scores (right) against minutes of training; epochs are written above.

    Args:
        curve: what :func:`read_learning_curve` returns.
        untrained: scores before training, the curves' starting points; metric to value.
        title: written above.
        size: (width, height) in pixels.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    figure = Figure(figsize=(size[0] / 100, size[1] / 100), dpi=100, facecolor='white', layout='constrained')
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    minutes = curve.seconds / 60
    left.plot(minutes, curve.loss, color=_COLORS['loss'], linewidth=1.6)
    left.set(title='training loss', ylim=(0, 1.05 * np.nanmax(curve.loss)))

    highest = 0.0
    for name, scores in curve.val_scores.items():
        x, y = curve.val_seconds / 60, scores
        if untrained is not None and name in untrained:
            x, y = np.concatenate([[0.0], x]), np.concatenate([[untrained[name]], y])
        if len(y) == 0:
            continue
        color = _COLORS.get(name)
        line, = right.plot(x, y, color=color, linewidth=1.8, marker='o', markersize=4, label=name)
        right.annotate(f'{y[-1]:.3f}', (x[-1], y[-1]), xytext=(6, 0), textcoords='offset points', va='center',
                       color=line.get_color(), fontweight='bold')
        highest = max(highest, np.nanmax(y))
    right.set(title='validation', ylim=(0, max(1.15 * highest, 0.05)))
    if highest:
        right.legend(loc='upper left', frameon=False)
    else:
        right.text(0.5, 0.5, 'no validation logged', transform=right.transAxes, ha='center', color='#888888')

    for axes in (left, right):
        axes.set(xlabel='training time, minutes (without validation)', xlim=(0, 1.1 * minutes[-1]))
        axes.grid(alpha=0.25)
        axes.spines[['right']].set_visible(False)
        _add_epoch_axis(axes, curve)
    if title:
        figure.suptitle(title, fontweight='bold')
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _add_epoch_axis(axes, curve: LearningCurve) -> None:
    """A second x axis on top: the last entry of each epoch stands for the epoch's end."""
    ends = {epoch: second / 60 for epoch, second in zip(curve.epochs, curve.seconds)}
    epochs = np.concatenate([[0.0], list(ends)])
    minutes = np.concatenate([[0.0], list(ends.values())])
    # one more anchor beyond the end at the mean pace: np.interp does not extrapolate
    epochs, minutes = np.append(epochs, 2 * epochs[-1]), np.append(minutes, 2 * minutes[-1])
    above = axes.secondary_xaxis('top', functions=(lambda x: np.interp(x, minutes, epochs),
                                                   lambda x: np.interp(x, epochs, minutes)))
    above.set_xlabel('epochs')
    above.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
