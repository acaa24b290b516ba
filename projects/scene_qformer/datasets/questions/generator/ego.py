"""Is the ego car moving? How fast is it? Is it turning?

A single frame hardly shows this: traffic, brake lights and the road give hints, and models that see several frames can
do better.
"""
from __future__ import annotations

import math
from collections.abc import Iterator

from .asked import Asked, Template, yes_or_no
from .selection import Scene

# Metres a second, from and to; between the ranges nothing is asked.
SPEEDS = {'stationary': (0.0, 0.2), 'slow': (0.5, 4.5), 'medium': (5.5, 9.0), 'fast': (10.0, math.inf)}
STRAIGHT, TURNING = math.radians(2), math.radians(5)  # radians a second, at most and at least

MOVING = Template('ego', 2, ('Is the ego car moving?', 'Are we moving?', 'Is our car in motion?'))
SPEED = Template('ego', 3, (
    'How fast is the ego car?', 'What is the speed of the ego car?', 'How fast are we driving?'))
# Two, as small sets may have turns to one side only.
TURN = Template('ego', 2, (
    'Is the ego car turning left, turning right or going straight?', 'Which way is the ego car turning?',
    'Are we turning left, turning right or going straight?'))


def ego(scene: Scene) -> Iterator[Asked]:
    """Motion, speed and, if the car moves, turn."""
    motion = scene.facts.ego
    if motion is None:
        return
    speed = next((name for name, (low, high) in SPEEDS.items() if low <= motion.speed <= high), None)
    if speed is not None:
        yield Asked(MOVING, yes_or_no(speed != 'stationary'), {})
        yield Asked(SPEED, speed, {})
    if motion.speed >= SPEEDS['slow'][0]:
        if abs(motion.turn_rate) >= TURNING:
            yield Asked(TURN, 'left' if motion.turn_rate > 0 else 'right', {})
        elif abs(motion.turn_rate) <= STRAIGHT:
            yield Asked(TURN, 'straight', {})
