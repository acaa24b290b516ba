"""By which rules questions are asked and answered, in words, for the files' metainfo."""
from __future__ import annotations

from .camera_views import BORDER
from .ego import SPEEDS, STRAIGHT, TURNING
from .exist_and_count import MOST
from .frame_facts import RANGE, WALKING_PACE
from .selection import FARTHER, FARTHER_BY, ON_THE_LINE
from .where import BETWEEN, DISTANCES

RULES = dict(
    asked='A question is asked only if its answer is the same whatever holds of the objects in doubt.',
    distance='Metres in the ground plane from the LiDAR to the centre of a box.',
    sure=f'An object counts if it is within {RANGE:g} m, has a lidar or radar point, is more than 40 % visible '
         f'(nuScenes), and its centre is in an image, {BORDER:.0%} away from the border, and {ON_THE_LINE:.0%} inside '
         'of the circle asked about.',
    doubt='Every other annotated object that may be meant is in doubt: hidden, without points, partly in the image, '
          f'within {ON_THE_LINE:.0%} of the circle, of unknown state, or of a category that resembles the one asked '
          'about.',
    nearest=f'The nearest object is asked about if every other that is not farther by {FARTHER:.0%} + {FARTHER_BY:g} m '
            'is certain too and gives the same answer.',
    state=f"nuScenes' attribute; unknown if the velocity contradicts it ({WALKING_PACE:g} m/s).",
    where=f'Distances {", ".join(map(str, DISTANCES))} m stand for what is nearest to them; borders '
          f'{", ".join(map(str, BETWEEN))} m, not asked within {ON_THE_LINE:.0%} of them.',
    count=f'0 to {MOST}; larger numbers are not asked for.',
    ego='Mean from the key frame before to the one after. Speeds in m/s: '
        f'{", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in SPEEDS.items())}. Straight: at most '
        f'{STRAIGHT:.4f} rad/s, turning: at least {TURNING:.4f}.',
    balance='Of the questions with one exact text, no answer has more than half, and no more than a third if the text '
            'asks for a number, a class, a camera, a distance, a speed, or for moving, stopped or parked.',
)
