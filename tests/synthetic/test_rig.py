import numpy as np
import pytest
from nuscenes import NuScenes
from pyquaternion import Quaternion

from scene_qformer.synthetic.rig import build_rig, rotation_from_angles


def yaw_of_axis(matrix: np.ndarray, axis: int) -> float:
    return float(np.degrees(np.arctan2(matrix[1, axis], matrix[0, axis])))


def test_angles_turn_the_right_way():
    np.testing.assert_allclose(rotation_from_angles(np.pi / 2, 0, 0) @ [1, 0, 0], [0, 1, 0], atol=1e-15)
    np.testing.assert_allclose(rotation_from_angles(0, np.pi / 6, 0) @ [1, 0, 0], [np.sqrt(3) / 2, 0, -0.5])  # down
    np.testing.assert_allclose(rotation_from_angles(0, 0, np.pi / 2) @ [0, 1, 0], [0, 0, 1], atol=1e-15)


def test_a_point_ahead_is_in_the_middle_of_the_front_image():
    camera = build_rig(np.random.default_rng(3)).cameras[0]
    ahead = np.linalg.inv(camera.cam2ego) @ [50.0, 0.0, 1.5, 1.0]
    u, v, depth = camera.cam2img @ ahead[:3]
    assert abs(depth - 48.3) < 0.1
    assert abs(u / depth - 800) < 60
    assert abs(v / depth - 480) < 60
    left = np.linalg.inv(camera.cam2ego) @ [50.0, 5.0, 1.5, 1.0]
    assert (camera.cam2img @ left[:3])[0] / left[2] < u / depth - 100  # what is left of the car is left in the image


def test_jitter_is_small_and_seeded():
    rigs = [build_rig(np.random.default_rng(seed)) for seed in (3, 3, 5)]
    np.testing.assert_array_equal(rigs[0].lidar2ego, rigs[1].lidar2ego)
    for a, b in zip(rigs[0].cameras, rigs[2].cameras):
        assert 0 < np.abs(a.cam2ego[:3, 3] - b.cam2ego[:3, 3]).max() < 0.12
        assert 0 < abs(a.cam2img[0, 0] - b.cam2img[0, 0]) < 30
        np.testing.assert_allclose(a.cam2ego[:3, :3] @ a.cam2ego[:3, :3].T, np.eye(3), atol=1e-12)


def test_like_a_real_rig(real_nuscenes_root):
    nusc = NuScenes('v1.0-trainval', str(real_nuscenes_root), verbose=False)
    cameras = {camera.name: camera for camera in build_rig(np.random.default_rng(7)).cameras}
    lidar2ego = build_rig(np.random.default_rng(7)).lidar2ego
    seen = set()
    for row in nusc.calibrated_sensor:
        channel = nusc.get('sensor', row['sensor_token'])['channel']
        seen.add(channel)
        real = Quaternion(row['rotation']).rotation_matrix
        ours = lidar2ego if channel == 'LIDAR_TOP' else cameras[channel].cam2ego
        axis = 0 if channel == 'LIDAR_TOP' else 2  # x of the lidar, viewing direction of a camera
        turn = (yaw_of_axis(real, axis) - yaw_of_axis(ours, axis) + 180) % 360 - 180
        assert abs(turn) < 4.0, channel
        np.testing.assert_allclose(ours[:3, 3], row['translation'], atol=0.12, err_msg=channel)
        if channel != 'LIDAR_TOP':
            focal = row['camera_intrinsic'][0][0]
            assert cameras[channel].cam2img[0, 0] == pytest.approx(focal, rel=0.03), channel
    assert seen == {*cameras, 'LIDAR_TOP'}
