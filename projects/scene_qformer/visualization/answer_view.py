"""One frame with questions about it: all cameras, beneath them what was asked and answered."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .camera_view import BACKGROUND, GAP, SURROUND_LAYOUT, draw_surround_view
from .palette import Color
from .text import draw_text, text_size

_STRIP = 38  # height of the title, pixels
_LINE, _SIZE, _MARGIN = 30, 20, 14  # of the text, pixels
_MUTED, _LETTERS = (150, 160, 178), (222, 227, 236)  # RGB
_RIGHT, _WRONG, _UNKNOWN = (105, 219, 124), (255, 135, 108), (116, 192, 252)


class Exchange(NamedTuple):
    """A question and what came back."""

    question: str
    answer: str
    truth: str | None = None  # the true answer, if it is known
    right: bool | None = None  # whether the answer counts as true; None where that is not known


def draw_answers_beneath(images: Mapping[str, np.ndarray],
                         exchanges: Sequence[Exchange],
                         title: str = '',
                         panel_width: int = 640) -> np.ndarray:
    """All cameras of a frame, and beneath them questions and answers: right ones green, wrong ones red, others blue.

    Args:
        images: Camera name to (H, W, 3) uint8 RGB, all of one aspect. nuScenes' cameras stand as they lie around the
            vehicle, others beside each other, three in a row.
        exchanges: Drawn in their order; long lines are broken between words.
        title: Written above.
        panel_width: Width of one camera's panel, pixels.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    layout = _layout(list(images))
    # no boxes are drawn, so any matrix does
    cameras = draw_surround_view(images, dict.fromkeys(images, np.eye(4)), panel_width=panel_width, layout=layout)
    width = cameras.shape[1] - 2 * _MARGIN
    lines: list[tuple[str, Color, bool]] = []
    for exchange in exchanges:
        lines += [(line, _LETTERS, False) for line in break_lines(f'Q:  {exchange.question}', _SIZE, width)]
        truth = '' if exchange.truth is None or exchange.right else f'   (true: {exchange.truth})'
        color = _UNKNOWN if exchange.right is None else _RIGHT if exchange.right else _WRONG
        lines += [(line, color, True) for line in break_lines(f'A:  {exchange.answer}{truth}', _SIZE, width)]
    height = _STRIP + cameras.shape[0] + (GAP + 2 * _MARGIN + _LINE * len(lines) if lines else 0)
    canvas = np.full((height, cameras.shape[1], 3), BACKGROUND, np.uint8)
    canvas[_STRIP:_STRIP + cameras.shape[0]] = cameras
    draw_text(canvas, title, (10, 8), 17, color=_MUTED, bold=True)
    top = _STRIP + cameras.shape[0] + GAP + _MARGIN
    for number, (line, color, bold) in enumerate(lines):
        draw_text(canvas, line, (_MARGIN, top + number * _LINE), _SIZE, color=color, bold=bold)
    return canvas


def break_lines(text: str, size: int, width: int) -> list[str]:
    """Break a text between words, so that bold lines are at most ``width`` pixels wide; a longer word stays whole."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ''
        for word in paragraph.split(' '):
            longer = f'{line} {word}' if line else word
            if line and text_size(longer, size, bold=True)[0] > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def _layout(names: Sequence[str]) -> list[list[str]]:
    around = [[name for name in row if name in names] for row in SURROUND_LAYOUT]
    others = [name for name in names if not any(name in row for row in around)]
    rows = [*around, *(others[start:start + 3] for start in range(0, len(others), 3))]
    return [row for row in rows if row]
