"""How the ego car moves around a key frame, from the ego poses of its neighbours."""
from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import NamedTuple

from nuscenes.nuscenes import NuScenes
from pyquaternion import Quaternion

from ...nuscenes_tables import follow

LONGEST_GAP = 1.5  # seconds between neighbouring poses; nuScenes annotates every 0.5 s


class EgoMotion(NamedTuple):
    """Means from the key frame before to the one after (or to this one itself, at a scene's ends)."""

    speed: float  # metres a second in the ground plane
    turn_rate: float  # radians a second; positive to the left


def ego_motion(nusc: NuScenes, sample: dict) -> EgoMotion | None:
    """The motion at a sample; None if it has no neighbours, or none that are near in time.

    Raises:
        ValueError: If the sample names a neighbour that is not there.
    """
    path, find = Path(nusc.dataroot, nusc.version, 'sample.json'), partial(nusc.get, 'sample')
    way_out = " Or write '' there, as at the end of a scene: the car's motion is read from the other neighbour then."
    neighbours = [follow(sample, column, find, path, 'sample', way_out) for column in ('prev', 'next')]
    frames = sorted([sample, *filter(None, neighbours)], key=lambda frame: frame['timestamp'])
    times, poses = zip(*(_pose(nusc, frame) for frame in frames))
    if len(frames) < 2 or max(after - before for before, after in zip(times, times[1:])) > LONGEST_GAP:
        return None
    duration = times[-1] - times[0]
    x, y, yaw = (last - first for first, last in zip(poses[0], poses[-1]))
    yaw = math.remainder(yaw, math.tau)
    return EgoMotion(math.hypot(x, y) / duration, yaw / duration)


def _pose(nusc: NuScenes, sample: dict) -> tuple[float, tuple[float, float, float]]:
    """Seconds, and x, y in metres and yaw in radians, of the car in the global frame at the LiDAR's time."""
    lidar = nusc.get('sample_data', sample['data']['LIDAR_TOP'])
    pose = nusc.get('ego_pose', lidar['ego_pose_token'])
    yaw = Quaternion(pose['rotation']).yaw_pitch_roll[0]
    return lidar['timestamp'] / 1e6, (pose['translation'][0], pose['translation'][1], yaw)
