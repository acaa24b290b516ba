"""The written root, seen through the devkit."""
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from nuscenes import NuScenes
from nuscenes.utils.data_classes import LidarPointCloud
from nuscenes.utils.geometry_utils import points_in_box
from nuscenes.utils.splits import mini_train, mini_val

from scene_qformer.synthetic.nuscenes_taxonomy import SENSORS
from scene_qformer.synthetic.set_statistics import format_table, measure_set
from scene_qformer.synthetic.world import CLASS_RANGES

REFERENCES = {
    'scene': {'log_token': 'log', 'first_sample_token': 'sample', 'last_sample_token': 'sample'},
    'sample': {'scene_token': 'scene', 'prev': 'sample', 'next': 'sample'},
    'sample_data': {'sample_token': 'sample', 'ego_pose_token': 'ego_pose', 'prev': 'sample_data',
                    'next': 'sample_data', 'calibrated_sensor_token': 'calibrated_sensor'},
    'sample_annotation': {'sample_token': 'sample', 'instance_token': 'instance', 'visibility_token': 'visibility',
                          'prev': 'sample_annotation', 'next': 'sample_annotation'},
    'instance': {'category_token': 'category', 'first_annotation_token': 'sample_annotation',
                 'last_annotation_token': 'sample_annotation'},
    'calibrated_sensor': {'sensor_token': 'sensor'},
}


@pytest.fixture(scope='module')
def nusc(synthetic_root: Path) -> NuScenes:
    return NuScenes('v1.0-mini', str(synthetic_root), verbose=False)


def test_official_scenes(nusc: NuScenes):
    assert {scene['name'] for scene in nusc.scene} == {*mini_train, *mini_val}
    assert all(scene['nbr_samples'] == 2 for scene in nusc.scene)


def test_foreign_keys_resolve(nusc: NuScenes):
    for table, fields in REFERENCES.items():
        for row in getattr(nusc, table):
            for field, target in fields.items():
                if row[field] or field not in ('prev', 'next'):
                    assert nusc.get(target, row[field])['token'] == row[field], (table, field)
    for row in nusc.sample_annotation:
        assert all(nusc.get('attribute', token) for token in row['attribute_tokens'])
    assert {token for row in nusc.map for token in row['log_tokens']} == {row['token'] for row in nusc.log}
    assert len({row['logfile'] for row in nusc.log}) == len(nusc.log)


def test_tokens_are_unique(nusc: NuScenes):
    for table in nusc.table_names:
        tokens = Counter(row['token'] for row in getattr(nusc, table))
        assert max(tokens.values()) == 1, table


def test_links_run_both_ways(nusc: NuScenes):
    for table in ('sample', 'sample_data', 'sample_annotation'):
        linked = 0
        for row in getattr(nusc, table):
            if row['next']:
                assert nusc.get(table, row['next'])['prev'] == row['token']
                linked += 1
        assert linked
    for instance in nusc.instance:
        row, count = nusc.get('sample_annotation', instance['first_annotation_token']), 1
        while row['next']:
            row, count = nusc.get('sample_annotation', row['next']), count + 1
        assert (row['token'], count) == (instance['last_annotation_token'], instance['nbr_annotations'])


def test_recordings_are_there(nusc: NuScenes):
    for sample in nusc.sample:
        assert sample['data'].keys() == SENSORS.keys()
    for row in nusc.sample_data:
        assert Path(nusc.dataroot, row['filename']).stat().st_size > 10_000
    image = cv2.imread(nusc.get_sample_data_path(nusc.sample[0]['data']['CAM_BACK']))
    assert image.shape == (900, 1600, 3)
    files = [path for path in Path(nusc.dataroot, 'samples').rglob('*') if path.is_file()]
    assert len(files) == len(nusc.sample_data) == 20 * 7


def test_velocities_follow_from_positions(nusc: NuScenes):
    moving = 0
    for instance in nusc.instance:
        rows = [nusc.get('sample_annotation', instance[f'{end}_annotation_token']) for end in ('first', 'last')]
        if instance['nbr_annotations'] == 2:
            step = np.subtract(rows[1]['translation'], rows[0]['translation']) / 0.5
            for row in rows:
                np.testing.assert_allclose(nusc.box_velocity(row['token']), step, atol=1e-9)
            moving += np.linalg.norm(step) > 2
    assert moving > 10


def test_counted_points_lie_in_their_boxes(nusc: NuScenes):
    counted = inside = 0
    for sample in nusc.sample[::5]:
        path, boxes, _ = nusc.get_sample_data(sample['data']['LIDAR_TOP'])
        points = LidarPointCloud.from_file(path).points[:3]
        for box in boxes:
            count = nusc.get('sample_annotation', box.token)['num_lidar_pts']
            within = int(points_in_box(box, points, wlh_factor=1.05).sum())
            counted, inside = counted + count, inside + min(within, count)
            assert within >= 0.8 * count - 2  # range noise throws a few out
    assert counted > 1000
    assert inside > 0.97 * counted


def test_map_mask_covers_the_way(nusc: NuScenes):
    for scene in nusc.scene:
        mask = next(row['mask'] for row in nusc.map if scene['log_token'] in row['log_tokens'])
        sample = nusc.get('sample', scene['first_sample_token'])
        pose = nusc.get('ego_pose', nusc.get('sample_data', sample['data']['LIDAR_TOP'])['ego_pose_token'])
        x, y, _ = pose['translation']
        assert mask.is_on_mask(x, y).all()
        assert not mask.is_on_mask(1.0, 1.0).any()  # the margin


def test_vector_map(nusc: NuScenes):
    for scene in nusc.scene:
        data = json.loads(Path(nusc.dataroot, 'maps/vector', f'{scene["name"]}.json').read_text())
        assert data['scene'] == scene['name']
        assert data['location'] == nusc.get('log', scene['log_token'])['location']
        for name in ('drivable_areas', 'sidewalks', 'boundaries', 'dividers', 'crossings', 'stop_lines'):
            assert all(np.array(line).shape[1] == 2 for line in data[name])
        for name in ('drivable_areas', 'sidewalks', 'boundaries', 'dividers'):  # a short street may have no junction
            assert data[name]
        assert all(len(quad) == 4 for quad in data['crossings'])


def test_statistics(nusc: NuScenes):
    statistics = measure_set(nusc)
    assert statistics.keys() == CLASS_RANGES.keys()
    assert 8 < statistics['car'].per_sample < 30
    assert set(statistics['bicycle'].attributes) <= {'cycle.with_rider', 'cycle.without_rider'}
    assert statistics['car'].attributes['vehicle.parked'] > statistics['car'].attributes['vehicle.stopped']
    assert statistics['barrier'].attributes == {}
    for values in statistics.values():
        assert values.visibility.sum() == pytest.approx(1)
    assert format_table(statistics).count('\n') == 11


def test_statistics_like_the_real_scene(nusc: NuScenes, real_nuscenes_root: Path):
    ours = measure_set(nusc)
    real = measure_set(NuScenes('v1.0-trainval', str(real_nuscenes_root), verbose=False))
    assert set(real) == set(ours)
    # The others' sizes vary too much from one to the next: a single scene says little of them.
    for name in ('car', 'truck', 'bus', 'pedestrian', 'motorcycle', 'traffic_cone', 'barrier'):
        np.testing.assert_allclose(ours[name].size, real[name].size, rtol=0.35, err_msg=name)
    for name in ('car', 'pedestrian', 'traffic_cone', 'barrier'):
        assert ours[name].distance[1] == pytest.approx(real[name].distance[1], rel=0.6), name
        assert 0.3 < ours[name].per_sample / real[name].per_sample < 5, name
    # In two samples only what is seen at once has rows, so fewer are hidden than in a whole scene.
    assert 0.05 < ours['car'].without_points < real['car'].without_points + 0.05
