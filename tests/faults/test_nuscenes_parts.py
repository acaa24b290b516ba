"""Tables of a part of nuScenes: what they name and leave out, which matters to who reads it alone."""
from functools import partial

import pytest

from faults.small_root import edit_table
from scene_qformer.datasets.calibration import read_cameras
from scene_qformer.datasets.info_file import load_info_file
from scene_qformer.datasets.nuscenes_excerpt import cut_frames
from scene_qformer.datasets.nuscenes_infos import create_info_files, open_nuscenes
from scene_qformer.datasets.questions.generator import create_question_files

AREA = 'Creating data'
AGAIN = 'Unpack the metadata archive of this version again; correct tables that you wrote yourself.'
NONE = 'gone', 7, ['gone'], 0


@pytest.mark.fault(area=AREA, fault='sweeps before a key frame that are not there', expected='said; without, it works',
                   remedy='Give --max-sweeps 0, which does without, or unpack the metadata archive again.')
@pytest.mark.parametrize('token', NONE, ids=repr)
def test_no_such_sweep(root, show, token):
    edit_table(root, 'sample_data', lambda rows: next(
        row for row in rows if 'LIDAR_TOP' in row['filename'] and not row['is_key_frame']).update(prev=token))
    with pytest.raises(ValueError, match='sample_data.json, record .*: its prev is .*Or give --max-sweeps 0') as caught:
        create_info_files(root, 'v1.0-mini')
    assert not list(root.glob('*.pkl'))
    if token == 'gone':
        show(caught.value)
    create_info_files(root, 'v1.0-mini', max_sweeps=0)


@pytest.mark.parametrize('left_out', ['records', 'the column'])
def test_key_frames_only(root, left_out):
    """Their prev still leads to sweeps, which nobody needs then."""
    def leave_out(rows):
        rows[:] = [row for row in rows if row['is_key_frame']]
        for row in rows if left_out == 'the column' else ():
            del row['prev']
        assert left_out == 'the column' or any(row['prev'] for row in rows)

    edit_table(root, 'sample_data', leave_out)
    train, val = create_info_files(root, 'v1.0-mini', max_sweeps=0)
    assert all('lidar_sweeps' not in info for info in load_info_file(train)['data_list'])
    assert cut_frames(root, root.with_name('excerpt'), 1) == 'v1.0-mini'
    said = 'it lacks prev' if left_out == 'the column' else 'its prev is .*, of which sample_data.json has no record'
    with pytest.raises(ValueError, match=f'sample_data.json, record .*: {said}.*--max-sweeps 0'):
        create_info_files(root, 'v1.0-mini', max_sweeps=1, overwrite=True)


@pytest.mark.fault(area=AREA, fault='an annotation whose neighbour in time does not exist', expected='said which',
                   remedy="Unpack the metadata archive again; where there is no neighbour, write ''.")
@pytest.mark.parametrize('column', ['prev', 'next'])
@pytest.mark.parametrize('token', [*NONE, None], ids=repr)
def test_no_such_annotation(root, show, column, token):
    edit_table(root, 'sample_annotation', lambda rows: rows[0].update({column: token}))
    none = ". Write '' where there is none" if token is None else ''
    with pytest.raises(ValueError, match=rf'_annotation.json, record .*: its {column} is .*has no record{none}\. Unp'
                       ) as caught:
        create_info_files(root, 'v1.0-mini')
    assert not list(root.glob('*.pkl'))
    if column == 'next' and token in (None, 'gone'):
        show(caught.value)
    open_nuscenes(root, 'v1.0-mini')  # who reads no velocity needs none of them
    assert cut_frames(root, root.with_name('excerpt'), 1) == 'v1.0-mini'


def test_no_neighbours_column(root):
    edit_table(root, 'sample_annotation', lambda rows: rows[3].pop('prev'))
    with pytest.raises(ValueError, match='sample_annotation.json, record .*: it lacks prev. '):
        create_info_files(root, 'v1.0-mini')


@pytest.mark.fault(area=AREA, fault='frames to cut that name a frame which does not exist', expected='said which',
                   remedy=AGAIN)
@pytest.mark.parametrize(('table', 'column'), [('sample', 'next'), ('scene', 'first_sample_token')])
@pytest.mark.parametrize('token', NONE, ids=repr)
def test_no_such_frame(root, show, table, column, token):
    edit_table(root, table, lambda rows: next(
        row for row in rows if 'scene-0103' in row['token']).update({column: token}))
    with pytest.raises(ValueError, match=rf'{table}.json, record scene-0103.*: its {column} is .*, of which sample.js'
                       ) as caught:
        cut_frames(root, root.with_name('excerpt'), 1)
    assert not root.with_name('excerpt').exists()
    if token == 'gone':
        show(caught.value)
    create_info_files(root, 'v1.0-mini')  # reads neither


@pytest.mark.fault(area='Creating questions', fault='a frame whose neighbour does not exist', expected='said which',
                   remedy="Unpack the metadata archive again; where a scene ends, write ''.")
@pytest.mark.parametrize('column', ['prev', 'next'])
def test_no_such_neighbour(root, show, column):
    edit_table(root, 'sample', lambda rows: rows[0].update({column: 'gone'}))
    create_info_files(root, 'v1.0-mini')
    with pytest.raises(ValueError, match=f"sample.json, record .*: its {column} is 'gone'.* Or write ''") as caught:
        create_question_files(root, 'v1.0-mini')
    assert not list(root.glob('questions*'))
    if column == 'next':
        show(caught.value)


def test_null_says_that_there_is_none(root, tmp_path):
    """As '' does, wherever null cannot be taken for something else."""
    def no_neighbours(rows):
        for row in rows:
            row.update(prev=row['prev'] or None, next=row['next'] or None)

    def set_all(rows, **columns):
        for row in rows:
            row.update(columns)

    for table in ('sample', 'sample_data'):
        edit_table(root, table, no_neighbours)
    results = []
    for unknown in (None, ''):
        edit_table(root, 'sample_annotation', partial(set_all, visibility_token=unknown))
        written = create_info_files(root, 'v1.0-mini', out=tmp_path / f'{unknown}infos')
        results.append([path.read_bytes() for path in written])
        train = load_info_file(written[0])['data_list']
        assert 'lidar_sweeps' in train[0] and any(train[0]['cam_instances'].values())
    assert results[0] == results[1]
    assert cut_frames(root, tmp_path / 'excerpt', 2) == 'v1.0-mini'


@pytest.mark.fault(area=AREA, fault='frames of a scene that follow each other in a circle',
                   expected='said; no endless loop', remedy=AGAIN)
def test_a_circle(root, show):
    edit_table(root, 'sample', lambda rows: rows[-1].update(next=rows[-2]['token']))
    with pytest.raises(ValueError, match='samples after scene-0103-sample-0 lead round in a circle') as caught:
        cut_frames(root, root.with_name('excerpt'), 1)
    show(caught.value)
    assert not root.with_name('excerpt').exists()


@pytest.mark.fault(area='Calibration', fault='a sample of the devkit without one of its cameras, or without the LiDAR',
                   expected='a camera that is not asked for may be missing; the others are said or masked',
                   remedy='Name other cameras, set on_fault to mask, or unpack the metadata archive again.')
@pytest.mark.parametrize('lost', ['CAM_BACK', 'LIDAR_TOP'])
def test_a_sample_without_a_sensor(root, show, lost):
    edit_table(root, 'sample_data', lambda rows: next(
        row for row in rows if lost in row['filename'] and row['is_key_frame']).update(is_key_frame=False))
    frame = open_nuscenes(root, 'v1.0-mini'), 'scene-0061-sample-0'
    if lost == 'LIDAR_TOP':
        with pytest.raises(ValueError, match='Sample scene-0061-sample-0 .* has no LIDAR_TOP in .*needs the Li') as no:
            read_cameras(frame, ('CAM_FRONT', ), 'mask')
        show(no.value)
        return
    for policy in ('stop', 'mask'):
        assert 'fault' not in read_cameras(frame, ('CAM_FRONT', ), policy)[1]['CAM_FRONT']
    with pytest.raises(ValueError, match='The calibration lacks CAM_BACK: the model reads CAM_FRONT, CAM_BACK'):
        read_cameras(frame, ('CAM_FRONT', 'CAM_BACK'))
    masked = read_cameras(frame, ('CAM_FRONT', 'CAM_BACK'), 'mask')[1]
    assert 'fault' not in masked['CAM_FRONT'] and 'lacks CAM_BACK' in masked['CAM_BACK']['fault']


@pytest.mark.parametrize('value', [None, 'absent', 0])
def test_only_images_have_a_size(root, value):
    """nuScenes says of width and height: if the file is an image. A LiDAR has no camera matrix either."""
    def without(column):
        def edit(rows):
            changed = [row for row in rows if 'LIDAR_TOP' in row['token']]
            assert changed
            for row in changed:
                row[column] = value
                if value == 'absent':
                    del row[column]
        return edit

    edit_table(root, 'calibrated_sensor', without('camera_intrinsic'))
    for column in ('width', 'height'):
        edit_table(root, 'sample_data', without(column))
    create_info_files(root, 'v1.0-mini')
    assert cut_frames(root, root.with_name('excerpt'), 1) == 'v1.0-mini'


def test_a_map_may_name_more_logs(root):
    """That of v1.0-mini names the logs of all of nuScenes."""
    edit_table(root, 'map', lambda rows: rows[0]['log_tokens'].append('of another version'))
    create_info_files(root, 'v1.0-mini')
