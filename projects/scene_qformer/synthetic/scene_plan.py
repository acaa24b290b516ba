"""Where and when a scene is set: place, hour, light, weather, street layout and how busy it is."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .road_layouts import LAYOUTS
from .scene import Weather

BOSTON = 'boston-seaport'
_LOCATIONS = {BOSTON: 0.55, 'singapore-onenorth': 0.2, 'singapore-queenstown': 0.13, 'singapore-hollandvillage': 0.12}
# Shares as nuScenes tells them: about a fifth of its scenes in rain, an eighth at night.
_CONDITIONS = {'clear': 0.4, 'cloudy': 0.24, 'rain': 0.17, 'dusk': 0.07, 'night': 0.12}

# The mini scenes are few, so their places and conditions are dealt out rather than drawn: every layout and condition
# occurs in training, and both val scenes are by day, like nuScenes' own.
_MINI = {
    'scene-0061': ('singapore-onenorth', 'clear', 'crossroads'),
    'scene-0103': (BOSTON, 'clear', 't_junction'),
    'scene-0553': (BOSTON, 'cloudy', 'straight'),
    'scene-0655': (BOSTON, 'clear', 'curve'),
    'scene-0757': (BOSTON, 'cloudy', 'avenue'),
    'scene-0796': ('singapore-queenstown', 'clear', 't_junction'),
    'scene-0916': ('singapore-queenstown', 'cloudy', 'avenue'),
    'scene-1077': ('singapore-hollandvillage', 'dusk', 'one_way'),
    'scene-1094': ('singapore-hollandvillage', 'rain', 'crossroads'),
    'scene-1100': ('singapore-hollandvillage', 'night', 'straight'),
}


@dataclass(frozen=True)
class ScenePlan:
    """The decisions that come before any geometry."""

    location: str  # nuScenes location name
    condition: str  # 'clear', 'cloudy', 'rain', 'dusk' or 'night'
    layout: str  # one of road_layouts.LAYOUTS
    weather: Weather
    hour: int  # local time of day
    vehicle_spacing: float  # mean gap between vehicles of a lane, metres
    parking_density: float  # share of parking places taken
    pedestrian_density: float  # people per metre of sidewalk

    @property
    def hand(self) -> int:
        """+1: right-hand traffic (Boston), -1: left-hand traffic (Singapore)."""
        return 1 if self.location == BOSTON else -1


def draw_weather(condition: str, rng: np.random.Generator) -> Weather:
    """Light and weather of a condition.

    Raises:
        ValueError: If the condition is unknown.
    """
    azimuth = rng.uniform(-np.pi, np.pi)
    day = dict(sun_azimuth=azimuth, wetness=0.0, fog=rng.uniform(0.0005, 0.0015), noise=rng.uniform(1.0, 2.5))
    if condition == 'clear':
        return Weather(**day, sun_elevation=rng.uniform(0.5, 1.2), brightness=rng.uniform(0.92, 1.05),
                       cloudiness=rng.uniform(0.0, 0.3))
    if condition == 'cloudy':
        return Weather(**day, sun_elevation=rng.uniform(0.5, 1.1), brightness=rng.uniform(0.75, 0.9),
                       cloudiness=rng.uniform(0.7, 1.0))
    if condition == 'rain':
        return Weather(azimuth, rng.uniform(0.5, 1.0), rng.uniform(0.6, 0.75), 1.0, rng.uniform(0.5, 1.0),
                       rng.uniform(0.002, 0.005), rng.uniform(2.0, 4.0))
    if condition == 'dusk':
        return Weather(azimuth, rng.uniform(0.12, 0.25), rng.uniform(0.45, 0.6), rng.uniform(0.1, 0.6), 0.0,
                       rng.uniform(0.0005, 0.002), rng.uniform(2.5, 4.5))
    if condition == 'night':
        return Weather(azimuth, rng.uniform(0.3, 0.8), rng.uniform(0.22, 0.32), rng.uniform(0.6, 1.0),
                       float(rng.random() < 0.3) * 0.5, rng.uniform(0.0005, 0.002), rng.uniform(5.0, 8.0))
    raise ValueError(f'Unknown condition {condition!r}; expected one of {tuple(_CONDITIONS)}.')


def draw_scene_plan(scene_name: str, rng: np.random.Generator) -> ScenePlan:
    """Decide on a scene by its name: the mini scenes are set, the others drawn."""
    location, condition, layout = _MINI.get(scene_name) or (
        str(rng.choice(list(_LOCATIONS), p=list(_LOCATIONS.values()))),
        str(rng.choice(list(_CONDITIONS), p=list(_CONDITIONS.values()))), str(rng.choice(LAYOUTS)))
    hour = {'dusk': 18, 'night': 20}.get(condition) or int(rng.integers(9, 17))
    return ScenePlan(
        location=location,
        condition=condition,
        layout=layout,
        weather=draw_weather(condition, rng),
        hour=hour,
        vehicle_spacing=rng.uniform(20.0, 38.0),
        parking_density=rng.uniform(0.45, 0.85),
        pedestrian_density=float(np.clip(rng.lognormal(np.log(0.012), 0.4), 0.006, 0.04)))
