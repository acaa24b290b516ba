"""From a scene's weather to the light that falls on it."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .scene import Weather


class Lighting(NamedTuple):
    """Light of one scene. Colours are BGR, linear factors on an albedo, such that 1 is the image's white."""

    to_sun: np.ndarray  # (3,) float64, unit vector towards the sun (or moon), global axes
    sun: np.ndarray  # (3,) float64, direct light on a surface that faces the sun
    ambient: np.ndarray  # (3,) float64, light of the sky on a surface that faces up
    zenith: np.ndarray  # (3,) float64, colour of the clear sky above
    horizon: np.ndarray  # (3,) float64, colour of the sky at the horizon, also of haze and fog
    cloud: np.ndarray  # (3,) float64, colour of clouds
    lamp: np.ndarray  # (3,) float64, light below a lamp or in a headlight's beam
    night: float  # 0 day .. 1 night: how far lamps and windows are on
    cloudiness: float  # 0..1
    haze: float  # extinction, 1/m
    wetness: float  # 0..1


def _bgr(red: float, green: float, blue: float) -> np.ndarray:
    return np.array([blue, green, red])


def make_lighting(weather: Weather) -> Lighting:
    """Light for a weather.

    The camera exposes by itself, so brightness lies between about 0.25 (night) and 1; the light's colour follows
    the sun's height and the clouds.
    """
    azimuth, elevation = weather.sun_azimuth, max(weather.sun_elevation, 0.12)
    to_sun = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    night = float(np.clip((0.55 - weather.brightness) / 0.25, 0, 1))
    cloudy = float(np.clip(weather.cloudiness, 0, 1))
    low_sun = float(np.clip(1 - np.sin(elevation) / 0.5, 0, 1))
    warm = low_sun * _bgr(1.0, 0.72, 0.42) + (1 - low_sun) * _bgr(1.0, 0.95, 0.86)
    day = weather.brightness
    sun = day * 0.90 * (1 - cloudy)**1.2 * warm
    ambient = day * ((1 - cloudy) * _bgr(0.56, 0.61, 0.70) + cloudy * _bgr(0.80, 0.83, 0.86))
    zenith = (1 - cloudy) * _bgr(0.24, 0.46, 0.78) + cloudy * _bgr(0.62, 0.66, 0.70)
    horizon = ((1 - cloudy) * ((1 - low_sun) * _bgr(0.74, 0.83, 0.92) + low_sun * _bgr(0.95, 0.83, 0.70))
               + cloudy * _bgr(0.80, 0.82, 0.84))
    cloud = (1 - cloudy) * _bgr(0.98, 0.98, 0.98) + cloudy * _bgr(0.74, 0.77, 0.80)
    dark = _bgr(0.10, 0.115, 0.16)
    glow = _bgr(0.20, 0.165, 0.14)
    moonlit = day * _bgr(0.72, 0.74, 0.82)
    blend = (1 - night)
    return Lighting(
        to_sun=to_sun,
        sun=blend * sun + night * 0.05 * day * _bgr(0.8, 0.9, 1.0),
        ambient=blend * ambient + night * moonlit,
        zenith=blend * day * zenith + night * 0.45 * dark,
        horizon=blend * day * horizon + night * glow,
        cloud=blend * day * cloud + night * 0.9 * glow,
        lamp=night * _bgr(1.05, 0.90, 0.65),
        night=night,
        cloudiness=cloudy,
        haze=0.0006 + weather.fog,
        wetness=float(np.clip(weather.wetness, 0, 1)))
