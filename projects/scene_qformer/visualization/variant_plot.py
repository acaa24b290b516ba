"""Variants side by side: scores of every seed, and time a frame."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..evaluation.variant_table import VariantResult

_COLORS = ('#e8590c', '#1971c2', '#2f9e44', '#9c36b5', '#0c8599')  # one an axis
_BASE_COLOR = '#343a40'
_ROW = 24  # pixels


def draw_variants(base: VariantResult, results: Sequence[VariantResult], title: str = '',
                  width: int = 1300) -> np.ndarray:
    """mAP at the left, a small dot each seed and a large one their mean; milliseconds a frame at the right.

    Args:
        base: What the others are compared with: a line through both halves.
        results: The others; those of one axis stand together.
        title: Written above.
        width: In pixels.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    rows = _lay_out(base, results)
    figure = Figure(figsize=(width / 100, (len(rows) * _ROW + 130) / 100), dpi=100, facecolor='white',
                    layout='constrained')
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.3, 1))
    axes_names = list(dict.fromkeys(result.axis for result in results))
    for y, (_, result) in enumerate(rows):
        if result is None:
            continue
        color = _BASE_COLOR if result is base else _COLORS[axes_names.index(result.axis) % len(_COLORS)]
        _draw_scores(left, y, result, color)
        if result.milliseconds is not None:
            right.plot(result.milliseconds, y, 'o', color=color, markersize=7)
            low, high = result.milliseconds_spread or (result.milliseconds, result.milliseconds)
            right.plot((low, high), (y, y), color=color, linewidth=1.2)
            right.annotate(f'{result.milliseconds:.0f}', (max(high, result.milliseconds), y), xytext=(8, 0),
                           textcoords='offset points', va='center', fontsize=9)
    for axes, value in ((left, base.mean('mAP')), (right, base.milliseconds)):
        if value is not None:
            axes.axvline(value, color=_BASE_COLOR, linewidth=0.8, linestyle=':', zorder=0)
        axes.set_xlim(left=0)
        axes.grid(axis='x', alpha=0.25)
        axes.spines[['right', 'top', 'left']].set_visible(False)
        axes.tick_params(axis='y', length=0)
    left.set(yticks=range(len(rows)), ylim=(len(rows) - 0.4, -0.6), xlabel='mAP: small, each seed; large, their mean')
    left.set_yticklabels([label for label, _ in rows], fontsize=9)
    for label, (_, result) in zip(left.get_yticklabels(), rows):
        if result is None or result is base:
            label.set_fontweight('bold')
    right.margins(x=0.12)
    right.set_xlim(left=0)
    right.set(xlabel='ms a frame, forward: median and quartiles')
    if title:
        figure.suptitle(title, fontweight='bold', fontsize=11)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _lay_out(base: VariantResult, results: Sequence[VariantResult]) -> list[tuple[str, VariantResult | None]]:
    """Labels from top to bottom; headings have no result."""
    rows: list[tuple[str, VariantResult | None]] = [('base', base)]
    axis = None
    for result in results:
        if result.axis != axis:
            axis = result.axis
            rows.append((axis, None))
        rows.append((result.name, result))
    return rows


def _draw_scores(axes: Axes, y: int, result: VariantResult, color: str) -> None:
    values = [scores['mAP'] for scores in result.scores.values()]
    if not values:
        axes.annotate('no score', (0, y), xytext=(4, 0), textcoords='offset points', va='center', fontsize=9,
                      color='#888888')
        return
    axes.plot((min(values), max(values)), (y, y), color=color, linewidth=1.2)
    axes.plot(values, [y] * len(values), 'o', color=color, markersize=4)
    average = sum(values) / len(values)
    axes.plot(average, y, 'o', color=color, markersize=8, alpha=0.75)
    axes.annotate(f'{average:.3f}', (max(values), y), xytext=(8, 0), textcoords='offset points', va='center',
                  fontsize=9)
