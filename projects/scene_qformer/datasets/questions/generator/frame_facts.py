"""What the annotations of one key frame say about its objects, and how surely."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mmdet3d.datasets import NuScenesDataset
from nuscenes.nuscenes import NuScenes

from ....geometry import compose_lidar2img
from ...nuscenes_scene_dataset import NUSCENES_CAMERAS
from .camera_views import CameraViews, view_boxes
from .ego_motion import EgoMotion, ego_motion

CLASSES = NuScenesDataset.METAINFO['classes']
RANGE = 50.0  # metres; farther objects are never asked about
LEAST_VISIBLE = 'v0-40'  # nuScenes' lowest level of visibility: at most 40 % of the object, over all cameras
ANEW = 'Create the info files anew from this root with tools/create_data.py.'
_READ = ('bbox_3d', 'bbox_label_3d', 'num_lidar_pts', 'num_radar_pts', 'velocity')
WALKING_PACE = 0.5  # m/s: an object that is said to move is faster, one that is said to stand is slower
STATES = {
    'vehicle.moving': 'moving',
    'vehicle.stopped': 'stopped',
    'vehicle.parked': 'parked',
    'pedestrian.moving': 'moving',
    'pedestrian.standing': 'standing',
    'pedestrian.sitting_lying_down': 'sitting',
    'cycle.with_rider': 'with rider',
    'cycle.without_rider': 'without rider',
}


@dataclass(frozen=True)
class FrameFacts:
    """G annotated objects around the ego car, seen by the six cameras in the order of ``NUSCENES_CAMERAS``.

    Args:
        categories: The class of each of the G objects or, for objects of none of the ten classes, nuScenes' category.
        distance: (G,) float, metres in the ground plane from the LiDAR to the box's centre.
        visible: (G,) bool: within ``RANGE``, with a lidar or radar point, more than 40 % visible, shown by a camera.
        states: Each object's state, a value of ``STATES``; None where it has none, or one that its velocity
            contradicts.
        views: Which camera shows which object.
        ego: The ego car's motion; None if unknown.
    """

    categories: tuple[str, ...]
    distance: np.ndarray
    visible: np.ndarray
    states: tuple[str | None, ...]
    views: CameraViews
    ego: EgoMotion | None


def read_frame(info: dict, nusc: NuScenes) -> FrameFacts:
    """The facts of a frame: boxes, velocities and classes from its info; what infos lack from the devkit's tables.

    Args:
        info: An entry of an info file, as :mod:`scene_qformer.datasets.nuscenes_infos` describes it.
        nusc: The tables that the info file was made from.

    Raises:
        ValueError: If the info's objects are none, or not those of the tables.
    """
    sample = nusc.get('sample', info['token'])
    instances = info.get('instances')
    if not isinstance(instances, list) or not all(isinstance(instance, dict) for instance in instances):
        raise ValueError(f'Sample {info["token"]} has no list of objects, instances, in the info file. {ANEW}')
    for number, instance in enumerate(instances):
        if missing := [key for key in _READ if key not in instance]:
            raise ValueError(f'Object {number} of sample {info["token"]} lacks {", ".join(missing)} in the info file. '
                             f'{ANEW}')
    annotations = [nusc.get('sample_annotation', token) for token in sample['anns']]
    if len(instances) != len(annotations):
        raise ValueError(f'Sample {info["token"]} has {len(instances)} objects in the info file and '
                         f'{len(annotations)} in {nusc.dataroot}. {ANEW}')
    boxes = np.array([instance['bbox_3d'] for instance in instances], np.float64).reshape(-1, 7)
    images = [info['images'][name] for name in NUSCENES_CAMERAS]
    records = [nusc.get('sample_data', sample['data'][name]) for name in NUSCENES_CAMERAS]
    views = view_boxes(
        boxes,
        compose_lidar2img(
            np.array([image['cam2img'] for image in images], np.float64),
            np.array([image['lidar2cam'] for image in images], np.float64)),
        np.array([(record['width'], record['height']) for record in records]))
    distance = np.hypot(boxes[:, 0], boxes[:, 1])
    with_points = np.array([i['num_lidar_pts'] + i['num_radar_pts'] > 0 for i in instances], bool)
    open_to_view = np.array([_visibility(nusc, annotation) != LEAST_VISIBLE for annotation in annotations], bool)
    return FrameFacts(
        categories=tuple(CLASSES[instance['bbox_label_3d']] if instance['bbox_label_3d'] >= 0 else
                         annotation['category_name'] for instance, annotation in zip(instances, annotations)),
        distance=distance,
        visible=(distance <= RANGE) & with_points & open_to_view & views.shows.any(0),
        states=tuple(_state(nusc, annotation, instance['velocity'])
                     for instance, annotation in zip(instances, annotations)),
        views=views,
        ego=ego_motion(nusc, sample))


def _visibility(nusc: NuScenes, annotation: dict) -> str:
    token = annotation['visibility_token']
    return nusc.get('visibility', token)['level'] if token else LEAST_VISIBLE


def _state(nusc: NuScenes, annotation: dict, velocity: list[float]) -> str | None:
    names = [nusc.get('attribute', token)['name'] for token in annotation['attribute_tokens']]
    state = STATES.get(names[0]) if len(names) == 1 else None
    speed = float(np.linalg.norm(velocity))  # NaN where unknown, which contradicts nothing
    if (state == 'moving' and speed < WALKING_PACE) or (
            state in ('stopped', 'parked', 'standing', 'sitting') and speed > WALKING_PACE):
        return None
    return state
