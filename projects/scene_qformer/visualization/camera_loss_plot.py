"""Scores against the number of cameras lost, a curve for each model."""
from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..evaluation.camera_loss_table import CameraLoss, by_number, models_of

_COLORS = ('#1971c2', '#e8590c', '#2f9e44', '#9c36b5', '#0c8599')


def draw_camera_loss(results: Sequence[CameraLoss], title: str = '', size: tuple[int, int] = (1300, 500)) -> np.ndarray:
    """NDS (left) and mAP (right) against cameras lost: a small dot each subset, a line through their means.

    Args:
        results: Tests of one or more models.
        title: Written above.
        size: (width, height) in pixels.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    figure = Figure(figsize=(size[0] / 100, size[1] / 100), dpi=100, facecolor='white', layout='constrained')
    canvas = FigureCanvasAgg(figure)
    for axes, metric in zip(figure.subplots(1, 2), ('NDS', 'mAP')):
        for index, model in enumerate(models_of(results)):
            color, scores = _COLORS[index % len(_COLORS)], by_number(results, model, metric)
            for number, values in scores.items():
                axes.plot([number] * len(values), values, 'o', color=color, markersize=3, alpha=0.45)
            axes.plot(list(scores), [mean(values) for values in scores.values()], color=color, linewidth=1.8,
                      marker='o', markersize=6, label=model)
        axes.set(xlabel='cameras lost', title=metric)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
        axes.spines[['right', 'top']].set_visible(False)
        axes.legend(frameon=False)
    if title:
        figure.suptitle(title, fontweight='bold')
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
