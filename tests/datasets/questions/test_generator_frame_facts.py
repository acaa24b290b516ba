"""Views, motion and facts: hand-computed on one camera and on the small root's curve and objects."""
import math

import numpy as np
import pytest
from nuscenes.nuscenes import NuScenes
from small_nuscenes import OBJECTS

from scene_qformer.datasets.info_file import load_info_file
from scene_qformer.datasets.questions.generator.camera_views import box_corners, view_boxes
from scene_qformer.datasets.questions.generator.ego_motion import ego_motion
from scene_qformer.datasets.questions.generator.frame_facts import read_frame

# Looks along y: x is right in the image, z is up. Focal length 100 pixels, image 200 x 100.
CAM2IMG = np.array([[100.0, 0, 100, 0], [0, 100, 50, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
LIDAR2CAM = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


def look(*boxes):
    return view_boxes(np.array(boxes, np.float64).reshape(-1, 7), (CAM2IMG @ LIDAR2CAM)[None], np.array([[200, 100]]))


class TestViews:

    @pytest.mark.parametrize('x, shows, touches, column', [
        (0, True, True, 0.5),
        (-5, True, True, 0.25),  # u = 100 - 5 / 10 * 100
        (9.7, False, True, 0.985),  # the last 2 % of the image are its border
        (-10.5, False, True, -0.025),  # its centre is outside, a corner at x = -9.5, y = 11 inside
        (12, False, False, 1.1),
    ])
    def test_before_the_camera(self, x, shows, touches, column):
        views = look((x, 10, 0, 2, 2, 2, 0))
        assert (bool(views.shows[0, 0]), bool(views.touches[0, 0])) == (shows, touches)
        assert views.column[0, 0] == pytest.approx(column)

    def test_behind_it(self):
        assert not look((0, -10, 0, 2, 2, 2, 0)).touches.any()

    def test_beside_it(self):
        """Half of the box is before the camera, but far to its right."""
        assert not look((7, 0, 0, 2, 4, 2, 0)).touches.any()

    def test_nothing(self):
        assert look().shows.shape == look().column.shape == (1, 0)

    def test_corners(self):
        """Length 4 along x, turned by 90 degrees towards y."""
        corners = box_corners(np.array([[10.0, 20, 1, 4, 2, 6, math.pi / 2]]))[0]
        np.testing.assert_allclose((corners.min(0), corners.max(0)), [(9, 18, -2), (11, 22, 4)])
        turned = box_corners(np.array([[0.0, 0, 0, 2, 0, 0, math.pi / 6]]))[0]
        np.testing.assert_allclose(turned[turned[:, 0] > 0][0], (math.sqrt(3) / 2, 0.5, 0))


@pytest.fixture(scope='module')
def nusc(small_root):
    return NuScenes('v1.0-mini', str(small_root), verbose=False)


class TestEgoMotion:

    @pytest.mark.parametrize('number', [0, 1, 2])
    def test_the_small_roots_curve(self, nusc, number):
        """7 and 3 m/s along x and y, 0.2 rad/s to the left, at the ends of the scene as well."""
        motion = ego_motion(nusc, nusc.get('sample', f'scene-0061-sample-{number}'))
        assert motion.speed == pytest.approx(math.hypot(7, 3), rel=1e-6)
        assert motion.turn_rate == pytest.approx(0.2, rel=1e-3)

    def test_through_south(self, nusc, monkeypatch):
        """From 179 to -179 degrees it turns by 2, not by 358."""
        poses = {}
        for number, degrees in enumerate((178, 179, -179)):
            half = math.radians(degrees) / 2
            sample = nusc.get('sample', f'scene-0061-sample-{number}')
            token = nusc.get('sample_data', sample['data']['LIDAR_TOP'])['ego_pose_token']
            poses[token] = dict(translation=[0, 0, 0], rotation=[math.cos(half), 0, 0, math.sin(half)])
        get = nusc.get
        monkeypatch.setattr(
            nusc, 'get', lambda table, token: poses[token] if table == 'ego_pose' else get(table, token))
        motion = ego_motion(nusc, get('sample', 'scene-0061-sample-1'))
        assert motion.turn_rate == pytest.approx(math.radians(3))  # in one second
        assert motion.speed == 0

    def test_alone_or_long_ago(self, nusc):
        sample = dict(nusc.get('sample', 'scene-0061-sample-0'))
        assert ego_motion(nusc, dict(sample, next='')) is None
        other = nusc.get('sample', 'scene-0553-sample-0')['token']  # a minute later
        assert ego_motion(nusc, dict(sample, next=other)) is None


class TestReading:

    @pytest.fixture
    def info(self, small_root):
        return load_info_file(small_root / 'nuscenes_infos_train.pkl')['data_list'][1]

    def test_objects(self, nusc, info):
        facts = read_frame(info, nusc)
        assert facts.categories == ('car', 'truck', 'pedestrian', 'traffic_cone', 'animal')
        assert facts.states == ('moving', 'parked', 'standing', None, None)
        lidar = nusc.get('sample_data', nusc.get('sample', info['token'])['data']['LIDAR_TOP'])
        ego = nusc.get('ego_pose', lidar['ego_pose_token'])['translation']
        for index, (*_, start, velocity, _) in enumerate(OBJECTS):
            position = np.array(start) + (411, 1180, 0) + 0.5 * np.array([*velocity, 0])
            # the LiDAR stands within 3 m of the car's origin
            assert facts.distance[index] == pytest.approx(np.linalg.norm((position - ego)[:2]), abs=3)
        seen = facts.views.shows.any(0)
        # the cone has no point; the truck has none of the LiDAR, but of the radar
        np.testing.assert_array_equal(facts.visible, seen & [True, True, True, False, True])
        assert seen[[0, 1, 2]].all()
        assert facts.ego is not None

    def test_hidden_and_far(self, nusc, info, monkeypatch):
        get = nusc.get
        hidden = dict(level='v0-40')
        monkeypatch.setattr(nusc, 'get', lambda table, token: hidden if table == 'visibility' else get(table, token))
        assert not read_frame(info, nusc).visible.any()
        monkeypatch.undo()
        assert read_frame(info, nusc).visible[0]
        info['instances'][0]['bbox_3d'][:2] = [51.0, 0.0]
        assert not read_frame(info, nusc).visible[0]

    def test_a_state_that_the_velocity_contradicts_is_unknown(self, nusc, info):
        info['instances'][0]['velocity'] = [0.3, 0.1]  # said to move
        info['instances'][1]['velocity'] = [0.0, 3.0]  # said to be parked
        info['instances'][2]['velocity'] = [float('nan')] * 2
        assert read_frame(info, nusc).states == (None, None, 'standing', None, None)

    def test_another_root(self, nusc, info):
        info['instances'].pop()
        with pytest.raises(ValueError, match='sample-1 has 4 objects in the info file and 5 in .*create_data'):
            read_frame(info, nusc)

    def test_an_empty_frame(self, nusc, info, monkeypatch):
        info['instances'].clear()
        monkeypatch.setitem(nusc.get('sample', info['token']), 'anns', [])
        assert read_frame(info, nusc).visible.shape == (0, )
