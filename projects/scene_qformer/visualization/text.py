"""Small captions on pictures, in matplotlib's own font so that every machine draws the same."""
from __future__ import annotations

from functools import lru_cache

import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from .palette import Color


@lru_cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    properties = font_manager.FontProperties(family='DejaVu Sans', weight='bold' if bold else 'normal')
    return ImageFont.truetype(font_manager.findfont(properties), size)


def text_size(text: str, size: int, bold: bool = False) -> tuple[int, int]:
    """Width and height in pixels of a line of text."""
    left, _, right, _ = _font(size, bold).getbbox(text)
    ascent, descent = _font(size, bold).getmetrics()
    return int(right - left), int(ascent + descent)


def draw_text(image: np.ndarray, text: str, position: tuple[int, int], size: int, color: Color = (255, 255, 255),
              background: Color | None = None, opacity: float = 0.6, bold: bool = False, padding: int = 3) -> None:
    """Write one line into ``image`` (H, W, 3) uint8 RGB, in place; what lies outside is cut off.

    Args:
        image: The picture.
        text: One line.
        position: (x, y) of the upper left corner of the text, pixels.
        size: Font size in pixels.
        color: RGB of the letters.
        background: RGB of a plate behind them; None for none.
        opacity: Opacity of the plate, 0 to 1.
        bold: Bold face.
        padding: How far the plate reaches beyond the text, pixels.
    """
    x, y = position
    width, height = text_size(text, size, bold)
    x0, y0 = max(x - padding, 0), max(y - padding, 0)
    window = image[y0:max(y + height + padding, 0), x0:max(x + width + padding, 0)]
    if window.size == 0:
        return
    if background is not None:
        window[:] = (window * (1 - opacity) + np.array(background) * opacity).astype(np.uint8)
    plate = Image.fromarray(window)
    ImageDraw.Draw(plate).text((x - x0, y - y0), text, font=_font(size, bold), fill=color)
    window[:] = np.asarray(plate)
