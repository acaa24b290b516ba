"""What a nuScenes root holds: classes per frame, distances, sizes, visibility and attributes, to compare sets."""
from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
from nuscenes import NuScenes
from nuscenes.eval.detection.constants import DETECTION_NAMES
from nuscenes.eval.detection.utils import category_to_detection_name


@dataclass(frozen=True)
class ClassStatistics:
    """One detection class over a whole set."""

    per_sample: float  # mean number of annotations
    distance: np.ndarray  # (3,) 10, 50 and 90 % quantiles of the distance from the ego vehicle, metres
    size: np.ndarray  # (3,) mean width, length, height, metres
    speed: float  # mean of those that move faster than 0.5 m/s, m/s; NaN if none does
    without_points: float  # share that no lidar point hits
    visibility: np.ndarray  # (4,) shares of the levels v0-40, v40-60, v60-80, v80-100
    attributes: dict[str, float]  # shares


def measure_set(nusc: NuScenes) -> dict[str, ClassStatistics]:
    """Statistics of each detection class that occurs, in the metric's order of classes."""
    attribute_names = {row['token']: row['name'] for row in nusc.attribute}
    rows: dict[str, list[dict]] = defaultdict(list)
    distances: dict[str, list[float]] = defaultdict(list)
    for sample in nusc.sample:
        recording = nusc.get('sample_data', sample['data']['LIDAR_TOP'])
        ego = np.array(nusc.get('ego_pose', recording['ego_pose_token'])['translation'][:2])
        for token in sample['anns']:
            annotation = nusc.get('sample_annotation', token)
            name = category_to_detection_name(annotation['category_name'])
            if name is not None:
                rows[name].append(annotation)
                distances[name].append(float(np.linalg.norm(np.array(annotation['translation'][:2]) - ego)))
    return {name: _summary(nusc, rows[name], distances[name], len(nusc.sample), attribute_names)
            for name in DETECTION_NAMES if name in rows}


def _summary(nusc: NuScenes, rows: list[dict], distances: list[float], num_samples: int,
             attribute_names: dict[str, str]) -> ClassStatistics:
    speeds = np.array([np.linalg.norm(nusc.box_velocity(row['token'])[:2]) for row in rows])
    levels = np.array([int(row['visibility_token']) for row in rows])
    attributes = Counter(attribute_names[token] for row in rows for token in row['attribute_tokens'])
    moving = speeds[speeds > 0.5]  # NaN, a speed that is unknown, is not
    return ClassStatistics(
        per_sample=len(rows) / num_samples,
        distance=np.quantile(distances, [0.1, 0.5, 0.9]),
        size=np.mean([row['size'] for row in rows], axis=0),
        speed=float(moving.mean()) if len(moving) else float('nan'),
        without_points=float(np.mean([row['num_lidar_pts'] == 0 for row in rows])),
        visibility=np.array([(levels == level).mean() for level in (1, 2, 3, 4)]),
        attributes={name: count / len(rows) for name, count in sorted(attributes.items())})


def format_table(statistics: dict[str, ClassStatistics]) -> str:
    """The statistics as a Markdown table."""
    lines = ['| class | per sample | distance 10/50/90 % | width, length, height | speed | no points | '
             'visibility 1-4 | attributes |', '|---|---|---|---|---|---|---|---|']
    for name, s in statistics.items():
        near, middle, far = s.distance
        attributes = ', '.join(f'{key.split(".")[1]} {share:.0%}' for key, share in s.attributes.items())
        lines.append(f'| {name} | {s.per_sample:.2f} | {near:.0f} / {middle:.0f} / {far:.0f} m | '
                     f'{", ".join(f"{v:.2f}" for v in s.size)} m | {s.speed:.1f} m/s | {s.without_points:.0%} | '
                     f'{", ".join(f"{v:.0%}" for v in s.visibility)} | {attributes} |')
    return '\n'.join(lines)
