"""Banks of noise, drawn once: tileable value noise for surfaces and clouds, Gaussian noise for the sensor."""
from __future__ import annotations

from functools import cache

import cv2
import numpy as np

TILE = 512  # texels on a side of the tileable noise
SENSOR_BANK = 1 << 21


@cache
def surface_noise() -> np.ndarray:
    """(TILE, TILE) float32, tileable noise of several octaves; mean 0, mostly within -1..1."""
    rng = np.random.default_rng(20_011)
    total = np.zeros((TILE, TILE))
    for cells, weight in ((16, 0.5), (64, 0.5), (TILE, 0.6)):
        grid = rng.standard_normal((cells, cells)).astype(np.float32)
        wrapped = np.pad(grid, 4, mode='wrap')
        factor = TILE // cells
        big = cv2.resize(wrapped, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        total += weight * big[4 * factor:-4 * factor, 4 * factor:-4 * factor]
    return np.clip(total / total.std() * 0.5, -1.5, 1.5).astype(np.float32)


@cache
def cloud_noise() -> np.ndarray:
    """(TILE, TILE) float32, tileable 1/f noise scaled to 0..1 by rank, so that a cover of p is a threshold at 1 - p."""
    rng = np.random.default_rng(20_021)
    freq = np.hypot(*np.meshgrid(np.fft.fftfreq(TILE), np.fft.fftfreq(TILE)))
    spectrum = np.fft.fft2(rng.standard_normal((TILE, TILE))) / np.maximum(freq, 1.0 / TILE)**1.7
    values = np.real(np.fft.ifft2(spectrum))
    rank = np.empty(values.size, np.float32)
    rank[np.argsort(values, axis=None, kind='stable')] = np.linspace(0, 1, values.size, dtype=np.float32)
    return rank.reshape(TILE, TILE)


@cache
def sensor_noise() -> np.ndarray:
    """(SENSOR_BANK,) int8: standard normal numbers times 32."""
    rng = np.random.default_rng(20_023)
    return np.clip(np.round(32 * rng.standard_normal(SENSOR_BANK)), -127, 127).astype(np.int8)
