"""Accuracy of answers against the number of scene tokens, beside what is known without looking."""
from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..evaluation.answer_table import AnswerRow
from ..evaluation.language_table import LanguageRun
from .answer_plot import draw_answers

_SERIES_COLOR = '#e8590c'
_OTHER_COLORS = ('#1971c2', '#2f9e44', '#9c36b5', '#0c8599')
_MARKERS = ('s', 'D', '^', 'v')
_LEVEL_COLORS = {'blind': '#495057', 'guess': '#adb5bd'}
_LINE_STYLES = ('--', ':', '-.')
_TOP = 480  # pixels


def draw_language(rows: Sequence[AnswerRow], runs: Sequence[LanguageRun], series: Sequence[str], title: str = '',
                  width: int = 1300) -> np.ndarray:
    """Accuracy and mAP of the detector against the number of tokens; below, accuracy by question type.

    Args:
        rows: From :func:`..evaluation.answer_table.compare_answers`.
        runs: Of the models among them, with their numbers of tokens.
        series: Names of the rows that differ in that number alone: joined by a line. The others stand alone.
        title: Written above.
        width: In pixels.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    figure = Figure(figsize=(width / 100, _TOP / 100), dpi=100, facecolor='white', layout='constrained')
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    looking = [run for run in runs if run.num_tokens]
    _draw_levels(left, rows)
    for axes, values in ((left, {id(run): 100 * run.scores.overall.fraction for run in looking}),
                         (right, {id(run): 100 * run.detector_map for run in looking if run.detector_map is not None})):
        _draw_against_tokens(axes, looking, values, series)
        numbers = sorted({run.num_tokens for run in looking})
        if numbers:
            axes.set_xscale('log', base=2)
            axes.set_xticks(numbers, [str(number) for number in numbers], minor=False)
            axes.set_xlim(numbers[0] / 1.3, numbers[-1] * 1.3)
        axes.set_ylim(bottom=0)
        axes.set_xlabel('scene tokens')
        axes.spines[['top', 'right']].set_visible(False)
        axes.grid(alpha=0.25)
    left.set_ylabel('exact match, all held-out questions, %')
    right.set_ylabel('mAP of the detector, %')
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc='outside lower center', ncols=min(len(labels), 4) or 1,
                  fontsize=9)
    if title:
        figure.suptitle(title, fontweight='bold', fontsize=11)
    canvas.draw()
    top = np.asarray(canvas.buffer_rgba())[..., :3]
    bars = draw_answers(rows, size=(width, 430))
    return np.concatenate((top, bars))


def _draw_levels(axes: Axes, rows: Sequence[AnswerRow]) -> None:
    """What needs no tokens: a line through all numbers of them, a band between the runs."""
    levels = [row for row in rows if row.kind != 'model']
    for index, row in enumerate(levels):
        values, color = [100 * value for value in row.accuracies()], _LEVEL_COLORS[row.kind]
        axes.axhline(mean(values), color=color, linewidth=1.6 if row.kind == 'blind' else 1.2, label=row.name,
                     linestyle='-' if row.kind == 'blind' else _LINE_STYLES[index % len(_LINE_STYLES)])
        if len(values) > 1:
            axes.axhspan(min(values), max(values), color=color, alpha=0.15, linewidth=0)


def _draw_against_tokens(axes: Axes, runs: Sequence[LanguageRun], values: dict[int, float],
                         series: Sequence[str]) -> None:
    """Small dots for runs, large ones for the means of rows."""
    runs = [run for run in runs if id(run) in values]
    by_row: dict[str, list[LanguageRun]] = {}
    for run in runs:
        by_row.setdefault(run.row, []).append(run)
    means = {name: (of_row[0].num_tokens, mean(values[id(run)] for run in of_row)) for name, of_row in by_row.items()}
    line = sorted(means[name] for name in series if name in means)
    axes.plot([x for x, _ in line], [y for _, y in line], 'o-', color=_SERIES_COLOR, markersize=8, label='two stages')
    others = [name for name in means if name not in series]
    for index, name in enumerate(others):
        axes.plot(*means[name], _MARKERS[index % len(_MARKERS)], color=_OTHER_COLORS[index % len(_OTHER_COLORS)],
                  markersize=9, alpha=0.85, label=name)
    for run in runs:
        color = _SERIES_COLOR if run.row in series else _OTHER_COLORS[others.index(run.row) % len(_OTHER_COLORS)]
        axes.plot(run.num_tokens, values[id(run)], 'o', color=color, markersize=3.5, markeredgecolor='white',
                  markeredgewidth=0.5)
