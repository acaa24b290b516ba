"""Gradient norms as bars."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..evaluation.gradients import GradientNorm

_FINE, _FLAGGED, _WEIGHT = '#1971c2', '#e8590c', '#343a40'


def draw_gradient_norms(norms: Sequence[GradientNorm], title: str = '') -> np.ndarray:
    """Horizontal bars on a logarithmic axis: gradient norms, with dark ticks at the weights' norms.

    Where a bar is missing, its flags say why: no gradient, zero, not finite, frozen.

    Args:
        norms: Of parts or of parameters, drawn from top to bottom.
        title: Written above.

    Returns:
        (height, width, 3) uint8 RGB.

    Raises:
        ValueError: If there is nothing to draw.
    """
    if not norms:
        raise ValueError('There are no gradient norms to draw: the model has no parameters.')
    figure = Figure(figsize=(10, 1.4 + 0.28 * len(norms)), dpi=100, facecolor='white', layout='constrained')
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.autoscale(False)
    rows = np.arange(len(norms))
    grads = np.array([norm.grad_norm for norm in norms], dtype=float)
    weights = np.array([norm.weight_norm for norm in norms], dtype=float)
    shown = np.isfinite(grads) & (grads > 0)
    positive = np.concatenate([grads[shown], weights[np.isfinite(weights) & (weights > 0)]])
    low, high = (positive.min() / 3, positive.max() * 3) if len(positive) else (0.1, 10.)

    axes.set(xscale='log', xlim=(low, high), ylim=(len(norms) - 0.4, -0.6), yticks=rows,
             xlabel='norm, gradients (bars) and weights (ticks)')
    axes.barh(rows[shown], grads[shown] - low, left=low, height=0.7,
              color=[_FLAGGED if norm.flags else _FINE for norm, is_shown in zip(norms, shown) if is_shown])
    axes.plot(weights, rows, '|', color=_WEIGHT, markersize=9, markeredgewidth=2.5)
    for row, norm in zip(rows, norms):
        if norm.flags:
            text = ', '.join(f'{count} {flag}' for flag, count in norm.flags.items())
            axes.annotate(text, (norm.grad_norm if shown[row] else low, row), xytext=(5, 0),
                          textcoords='offset points', va='center', fontsize=8, color=_FLAGGED)
    axes.set_yticklabels([norm.name for norm in norms], fontsize=8)
    axes.grid(axis='x', alpha=0.25)
    axes.spines[['top', 'right']].set_visible(False)
    if title:
        figure.suptitle(title, fontweight='bold')
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
