"""Accuracy by question type, side by side for all ways to answer."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..evaluation.answer_table import AnswerRow

_MODEL_COLORS = ('#e8590c', '#1971c2', '#2f9e44', '#9c36b5', '#0c8599', '#e64980', '#f08c00', '#66a80f')
_GUESS_COLORS = ('#e9ecef', '#ced4da', '#adb5bd')  # light greys: no model
_BLIND_COLOR = '#495057'


def draw_answers(rows: Sequence[AnswerRow], title: str = '', size: tuple[int, int] = (1300, 430)) -> np.ndarray:
    """A group of bars overall and for each question type, a bar a row, a dot for each of several runs.

    Args:
        rows: From :func:`..evaluation.answer_table.compare_answers`, drawn in their order: guesses in light greys, the
            blind model in dark grey, models in colours.
        title: Written above.
        size: (width, height) in pixels.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    types = list(rows[0].runs[0].types)
    counts = [rows[0].runs[0].overall.count, *(each.count for each in rows[0].runs[0].types.values())]
    figure = Figure(figsize=(size[0] / 100, size[1] / 100), dpi=100, facecolor='white', layout='constrained')
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    width = 0.84 / len(rows)
    groups = np.arange(1 + len(types))
    for index, (row, color) in enumerate(zip(rows, _colors(rows))):
        x = groups + (index - (len(rows) - 1) / 2) * width
        axes.bar(x, [100 * row.accuracy(type) for type in (None, *types)], 0.92 * width, label=row.name, color=color)
        for place, type in zip(x, (None, *types)):
            values = [100 * value for value in row.accuracies(type)]
            if len(values) > 1:
                axes.plot([place] * len(values), values, 'o', color='black', markersize=2.5)
            if len(rows) * len(groups) <= 60:  # more numbers would overlap
                axes.annotate(f'{100 * row.accuracy(type):.0f}', (place, max(values)), xytext=(0, 3), fontsize=7,
                              textcoords='offset points', ha='center')
    axes.set(ylabel='exact match, %', ylim=(0, 108), xticks=groups, xlim=(-0.6, len(groups) - 0.4))
    axes.set_xticklabels([f'{name}\n{count} questions' for name, count in zip(('overall', *types), counts)])
    axes.axvline(0.5, color='#868e96', linewidth=0.8, linestyle=':')
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(axis='y', alpha=0.25)
    axes.set_axisbelow(True)
    figure.legend(frameon=False, loc='outside lower center', ncols=min(len(rows), 5), fontsize=9)
    if title:
        figure.suptitle(title, fontweight='bold', fontsize=11)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _colors(rows: Sequence[AnswerRow]) -> list[str]:
    models = [row.name for row in rows if row.kind == 'model']
    guesses = [row.name for row in rows if row.kind == 'guess']
    return [_BLIND_COLOR if row.kind == 'blind' else
            _MODEL_COLORS[models.index(row.name) % len(_MODEL_COLORS)] if row.kind == 'model' else
            _GUESS_COLORS[guesses.index(row.name) % len(_GUESS_COLORS)] for row in rows]
