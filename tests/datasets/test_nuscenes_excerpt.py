"""A few frames as a root of their own: the devkit, the info files and the metric see these and no others."""
import json

import numpy as np
import pytest
from nuscenes.nuscenes import NuScenes

from scene_qformer.datasets.info_file import load_info_file
from scene_qformer.datasets.nuscenes_excerpt import cut_frames
from scene_qformer.datasets.nuscenes_infos import create_info_files


def frames(nusc, scene):
    token, tokens = scene['first_sample_token'], []
    while token:
        tokens.append(token)
        token = nusc.get('sample', token)['next']
    return tokens


@pytest.fixture(scope='module')
def real(real_nuscenes_root):
    return NuScenes('v1.0-trainval', str(real_nuscenes_root), verbose=False)


@pytest.fixture(scope='module')
def cut(real_nuscenes_root, tmp_path_factory):
    out = tmp_path_factory.mktemp('excerpt') / 'frames'
    assert cut_frames(real_nuscenes_root, out, 5, first=3) == 'v1.0-trainval'
    return out


def test_devkit_finds_the_same_boxes_in_these_frames(real, cut):
    nusc = NuScenes('v1.0-trainval', str(cut), verbose=False)
    tokens = frames(nusc, nusc.scene[0])
    assert tokens == frames(real, real.scene[0])[3:8] and nusc.scene[0]['nbr_samples'] == len(nusc.sample) == 5
    for token in tokens:
        theirs, ours = real.get('sample', token), nusc.get('sample', token)
        assert set(theirs['anns']) == set(ours['anns']) and theirs['data'] == ours['data']
        for name in ('LIDAR_TOP', 'CAM_BACK'):
            path, boxes, _ = nusc.get_sample_data(ours['data'][name])
            _, expected, _ = real.get_sample_data(theirs['data'][name])
            assert {box.token: tuple(box.center) for box in boxes} == {box.token: tuple(box.center) for box in expected}
    for instance in nusc.instance:
        first, last = (nusc.get('sample_annotation', instance[f'{end}_annotation_token']) for end in ('first', 'last'))
        assert first['prev'] == last['next'] == ''
        assert instance['nbr_annotations'] == sum(
            row['instance_token'] == instance['token'] for row in nusc.sample_annotation)


def test_velocities_inside_are_those_of_the_whole_scene(real, cut):
    nusc = NuScenes('v1.0-trainval', str(cut), verbose=False)
    token = frames(nusc, nusc.scene[0])[2]
    compared = 0
    for annotation in nusc.get('sample', token)['anns']:
        row = nusc.get('sample_annotation', annotation)
        if row['prev'] and row['next']:
            np.testing.assert_array_equal(nusc.box_velocity(annotation), real.box_velocity(annotation))
            compared += 1
    assert compared > 10


def test_info_files(cut):
    create_info_files(cut, 'v1.0-trainval', workers=1)
    assert len(load_info_file(cut / 'nuscenes_infos_val.pkl')['data_list']) == 5


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(num_frames=9, first=33), 'scene-0523 has 40 frames: there are no 9 from index 33 on'),
    (dict(num_frames=0), 'there are no 0'),
    (dict(num_frames=1, scene='scene-0001'),
     'No scene scene-0001 in the validation split of v1.0-trainval, .* first ones there: scene-0523'),
])
def test_frames_that_are_not_there(real_nuscenes_root, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        cut_frames(real_nuscenes_root, tmp_path / 'out', **arguments)
    assert not (tmp_path / 'out').exists()


def test_wrong_folders(small_root, tmp_path):
    with pytest.raises(FileNotFoundError, match='is no nuScenes root with annotations'):
        cut_frames(tmp_path, tmp_path / 'out', 1)
    with pytest.raises(FileExistsError, match='is there already'):
        cut_frames(small_root, tmp_path, 1)


def test_a_training_scene_is_refused(small_root, tmp_path):
    """Info files would sort its frames into the training split, and the metric would find none."""
    scenes = json.loads((small_root / 'v1.0-mini' / 'scene.json').read_text())
    assert 'scene-0061' in {scene['name'] for scene in scenes}
    with pytest.raises(ValueError, match='No scene scene-0061 in the validation split of v1.0-mini, the one that is '
                                         'scored; the first ones there: scene-0103'):
        cut_frames(small_root, tmp_path / 'out', 1, scene='scene-0061')
    assert not (tmp_path / 'out').exists()


def test_mini_and_a_single_frame(small_root, tmp_path):
    out = tmp_path / 'out'
    assert cut_frames(small_root, out, 1) == 'v1.0-mini'
    tables = {name: json.loads((out / 'v1.0-mini' / f'{name}.json').read_text()) for name in ('scene', 'sample')}
    assert tables['scene'][0]['name'] == 'scene-0103'  # of mini_val
    assert [(row['prev'], row['next']) for row in tables['sample']] == [('', '')]
