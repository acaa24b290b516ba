"""Scores by class side by side, e.g. of the untrained and the trained model."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_BAR_COLORS = ('#adb5bd', '#e8590c', '#1971c2', '#2f9e44', '#9c36b5')


def draw_class_scores(scores: Mapping[str, Mapping[str, float]],
                      classes: Sequence[str],
                      label: str = 'AP',
                      size: tuple[int, int] = (1300, 430)) -> np.ndarray:
    """A bar for each class and model.

    Args:
        scores: model (the legend's name) to class to score, 0 to 1; a class without a score gets no bar.
        classes: the classes, in order from left to right.
        label: name of the score.
        size: (width, height) in pixels.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    figure = Figure(figsize=(size[0] / 100, size[1] / 100), dpi=100, facecolor='white', layout='constrained')
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    width = 0.8 / max(len(scores), 1)
    for index, (model, by_class) in enumerate(scores.items()):
        present = [name for name in classes if name in by_class]
        x = np.array([classes.index(name) for name in present]) + (index - (len(scores) - 1) / 2) * width
        bars = axes.bar(x, [by_class[name] for name in present], 0.92 * width, label=model,
                        color=_BAR_COLORS[index % len(_BAR_COLORS)])
        axes.bar_label(bars, fmt='%.2f', fontsize=8, padding=2)
    axes.set(ylabel=label, xticks=range(len(classes)), xlim=(-0.6, len(classes) - 0.4))
    axes.set_xticklabels([name.replace('_', '\n') for name in classes])
    axes.margins(y=0.15)
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(axis='y', alpha=0.25)
    axes.set_axisbelow(True)
    if len(scores) > 1:
        axes.legend(frameon=False)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
