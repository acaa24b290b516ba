"""Tables of nuScenes that are damaged, lack something, or name what is not there."""
import json
import weakref

import pytest

from faults.small_root import edit_table
from scene_qformer.datasets import nuscenes_infos
from scene_qformer.datasets.nuscenes_excerpt import cut_frames
from scene_qformer.datasets.nuscenes_infos import create_info_files, open_nuscenes

AREA = 'Creating data'
AGAIN = 'Unpack the metadata archive of this version again; correct tables that you wrote yourself.'


def refused(root, match):
    """What the tool says; nothing is written."""
    before = sorted(root.iterdir())
    with pytest.raises(ValueError, match=match) as caught:
        create_info_files(root, 'v1.0-mini')
    assert sorted(root.iterdir()) == before
    with pytest.raises(ValueError, match=match):  # the other reader of tables
        cut_frames(root, root.with_name('excerpt'), 1)
    assert not root.with_name('excerpt').exists()
    return caught.value


@pytest.mark.fault(area=AREA, fault='a table of nuScenes that is cut off or overwritten',
                   expected='said which, and where', remedy=AGAIN)
@pytest.mark.parametrize('damage', ['empty', 'half', 'zeros', 'html', 'an object', 'numbers', 'nested', 'Latin-1',
                                    'UTF-16'])
@pytest.mark.parametrize('table', ['scene', 'sample_data', 'map', 'visibility'])
def test_damaged(root, show, table, damage):
    path = root / f'v1.0-mini/{table}.json'
    whole = path.read_bytes()
    path.write_bytes({'empty': b'', 'half': whole[:len(whole) // 2], 'zeros': bytes(len(whole)), 'an object': b'{}',
                      'html': b'<!DOCTYPE html><html>404</html>', 'numbers': b'[1, 2]', 'Latin-1': b'["\xc4"]',
                      'UTF-16': whole.decode().encode('utf-16'),
                      'nested': b'[' * 10 ** 5 + b']' * 10 ** 5}[damage])
    found = refused(root, f'{table}.json')
    if table == 'map' and damage in ('half', 'an object'):
        show(found)


@pytest.mark.fault(area=AREA, fault='a table of nuScenes with a byte order mark, as some editors write',
                   expected='said which', remedy='Save the table as UTF-8 without a byte order mark.')
@pytest.mark.parametrize('table', ['scene', 'map'])
def test_a_mark(root, show, table):
    path = root / f'v1.0-mini/{table}.json'
    path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes())
    found = refused(root, f'Expected the table .*{table}.json in UTF-8 without a byte order mark, found')
    if table == 'scene':
        show(found)


@pytest.mark.fault(area=AREA, fault='a table without a record', expected='said which', remedy=AGAIN)
@pytest.mark.parametrize('table', ['scene', 'sample', 'map'])
def test_no_record(root, show, table):
    edit_table(root, table, list.clear)
    why = 'the devkit opens nothing' if table == 'map' else 'there is no frame to read'
    show(refused(root, rf'{table}.json holds no record, and without one {why}'))


@pytest.mark.fault(area=AREA, fault='a table lacks a column', expected='said which, and in which record', remedy=AGAIN)
@pytest.mark.parametrize(('table', 'column'), [
    ('sample', 'token'), ('scene', 'name'), ('sample', 'scene_token'), ('sample_data', 'ego_pose_token'),
    ('sample_data', 'is_key_frame'), ('sample_data', 'width'), ('calibrated_sensor', 'camera_intrinsic'),
    ('ego_pose', 'rotation'), ('sample_annotation', 'num_lidar_pts'), ('instance', 'category_token'),
    ('visibility', 'level'), ('map', 'log_tokens')])
def test_no_column(root, show, table, column):
    of_cameras = column in ('width', 'camera_intrinsic')  # the last record is of the LiDAR
    edit_table(root, table, lambda rows: rows[0 if of_cameras else -1].pop(column))
    found = refused(root, rf'{table}.json, record .*: it lacks {column}. ')
    if column == 'num_lidar_pts':
        show(found)


@pytest.mark.fault(area=AREA, fault='two records of one token', expected='said which', remedy=AGAIN)
@pytest.mark.parametrize('table', ['scene', 'sample', 'sample_data', 'sample_annotation', 'ego_pose', 'category'])
def test_twice(root, show, table):
    edit_table(root, table, lambda rows: rows.append(dict(rows[0])))
    found = refused(root, rf'{table}.json, record .*: two records have this token')
    if table == 'sample':
        show(found)


@pytest.mark.fault(area=AREA, fault='two key frames of one camera and sample', expected='said which', remedy=AGAIN)
def test_two_key_frames(root, show):
    edit_table(root, 'sample_data', lambda rows: rows.append(dict(rows[0], token='another')))
    show(refused(root, 'sample_data.json, record another: sample scene-0061-sample-0 has another key frame of CAM_FRO'))


TOKENS = (
    ('sample', 'scene_token'), ('sample_data', 'sample_token'), ('sample_data', 'ego_pose_token'),
    ('sample_data', 'calibrated_sensor_token'), ('sample_annotation', 'sample_token'),
    ('sample_annotation', 'instance_token'), ('sample_annotation', 'visibility_token'),
    ('sample_annotation', 'attribute_tokens'), ('instance', 'category_token'), ('calibrated_sensor', 'sensor_token'))


@pytest.mark.fault(area=AREA, fault='a token of a record that does not exist', expected='said which', remedy=AGAIN)
@pytest.mark.parametrize(('table', 'column', 'token'), [
    (table, column, token) for table, column in TOKENS for token in ('gone', None, 7, ['gone'])
    if (column, token) != ('visibility_token', None)], ids=repr)
def test_no_such_record(root, show, table, column, token):
    value = token if column != 'attribute_tokens' or isinstance(token, list) else [token]
    edit_table(root, table, lambda rows: rows[0].update({column: value}))
    found = refused(root, rf'{table}.json, record .*: its {column} is .*, of which \w+.json has no record')
    if column == 'ego_pose_token' and token == 'gone':
        show(found)


@pytest.mark.fault(area=AREA, fault='a pose, a size or a time that is none', expected='said which', remedy=AGAIN)
@pytest.mark.parametrize(('table', 'column', 'value'), [
    ('ego_pose', 'translation', [1.0, 2.0]), ('ego_pose', 'translation', [1.0, 2.0, float('nan')]),
    ('ego_pose', 'rotation', [0, 0, 0, 0]), ('ego_pose', 'rotation', None),
    ('calibrated_sensor', 'rotation', [1, 0, 0, 'x']), ('calibrated_sensor', 'rotation', [[1, 0, 0, 0]]),
    ('calibrated_sensor', 'camera_intrinsic', []), ('calibrated_sensor', 'camera_intrinsic', [[1, 0, 0], [0, 1, 0]]),
    ('calibrated_sensor', 'camera_intrinsic', [[1, 0, 0], [0, float('inf'), 0], [0, 0, 1]]),
    ('sample', 'timestamp', '1500000000000000'), ('sample_data', 'timestamp', None), ('sample_data', 'width', '1600'),
    ('sample_annotation', 'size', [1.0, 2.0, 3.0, 4.0]), ('sample_annotation', 'size', 'big'),
    ('sample_annotation', 'num_lidar_pts', None), ('sample_annotation', 'num_radar_pts', True),
    ('sample', 'timestamp', True), ('ego_pose', 'rotation', [True, False, False, False]),
    ('ego_pose', 'translation', [1.5, True, 2]), ('sample_data', 'height', None), ('sample_data', 'width', False),
    ('calibrated_sensor', 'camera_intrinsic', [[70.5, 0, 31], [0, 70.5, 23], [0, False, 1]])],
    ids=lambda value: f'{value}'[:24])
def test_no_numbers(root, show, table, column, value):
    edit_table(root, table, lambda rows: rows[0].update({column: value}))
    found = refused(root, rf'{table}.json, record .*: expected {column} to be .*finite number')
    if value in ([0, 0, 0, 0], '1500000000000000', []):
        show(found)


@pytest.mark.fault(area=AREA, fault='an entry of another kind than the table has', expected='said which', remedy=AGAIN)
@pytest.mark.parametrize(('table', 'column', 'value'), [
    ('sample', 'token', 7), ('scene', 'name', None), ('sample_data', 'filename', ['x.jpg']), ('sensor', 'channel', 5),
    ('sample_annotation', 'attribute_tokens', 'parked'), ('map', 'log_tokens', None), ('map', 'log_tokens', [['log']]),
    ('map', 'log_tokens', ['log', 7])])
def test_other_kinds(root, show, table, column, value):
    edit_table(root, table, lambda rows: rows[0].update({column: value}))
    found = refused(root, rf'{table}.json, record .*: expected {column} to be a (text|list of tokens), found ')
    if table in ('scene', 'sample_annotation'):
        show(found)


@pytest.mark.fault(area=AREA, fault='a recording that has no map, or a map whose picture is not there',
                   expected='said which', remedy='Unpack the metadata archive again: maps/ is in it.')
@pytest.mark.parametrize('lost', ['the picture', 'the record'])
def test_no_map(root, show, lost):
    if lost == 'the picture':
        (root / 'maps').unlink()
    else:
        edit_table(root, 'map', lambda rows: rows[0].update(log_tokens=[]))
    with pytest.raises((FileNotFoundError, ValueError), match='no map .*map.png|log.json, record log: ') as caught:
        create_info_files(root, 'v1.0-mini')
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='the devkit refuses a root for a reason of its own', expected='said which',
                   remedy='Unpack the archives of this version again, those of nuScenes-lidarseg too if you have it.')
def test_the_devkits_own_reasons(root, show):
    (root / 'lidarseg/v1.0-mini').mkdir(parents=True)
    (root / 'v1.0-mini/lidarseg.json').write_text(json.dumps([]))
    with pytest.raises(ValueError, match='devkit cannot open .*v1.0-mini .AssertionError: .*-lidarseg') as caught:
        open_nuscenes(root, 'v1.0-mini')
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='the tables of nuScenes-lidarseg without its folder', expected='said',
                   remedy='Unpack the archives of nuScenes-lidarseg whole, or remove lidarseg.json.')
@pytest.mark.parametrize('task', ['lidarseg', 'panoptic'])
def test_half_of_lidarseg(root, show, task):
    edit_table(root, 'category', lambda rows: [row.update(index=number) for number, row in enumerate(rows)])
    (root / f'v1.0-mini/{task}.json').write_text(json.dumps([]))
    with pytest.raises(ValueError, match=f'devkit cannot open .* .FileNotFoundError: .*{task}/v1.0-mini') as caught:
        create_info_files(root, 'v1.0-mini')
    if task == 'lidarseg':
        show(caught.value)


@pytest.mark.parametrize('refusal', [MemoryError('many'), PermissionError(13, 'Permission denied')], ids=repr)
def test_what_is_no_fault_of_the_tables(root, monkeypatch, refusal):
    def no(**arguments):
        raise refusal
    monkeypatch.setattr(nuscenes_infos, 'NuScenes', no)
    with pytest.raises(type(refusal)) as caught:
        open_nuscenes(root, 'v1.0-mini')
    assert caught.value is refusal


def test_tables_are_in_memory_once(root, monkeypatch):
    """All of nuScenes takes 5 GB: what the devkit had read is gone when the tables are read to say what is wrong."""
    opened = []

    class Watched(nuscenes_infos.NuScenes):
        def __init__(self, **arguments):
            opened.append(weakref.ref(self))
            super().__init__(**arguments)

    def read_again(folder):
        assert [reference() for reference in opened] == [None]
        raise ValueError('read again')

    edit_table(root, 'sample_data', lambda rows: rows[0].update(calibrated_sensor_token='gone'))
    monkeypatch.setattr(nuscenes_infos, 'NuScenes', Watched)
    monkeypatch.setattr(nuscenes_infos, 'read_tables', read_again)
    with pytest.raises(ValueError, match='read again'):
        open_nuscenes(root, 'v1.0-mini')


def test_maps_are_looked_at_before_the_devkit_reads(root, monkeypatch):
    monkeypatch.setattr(nuscenes_infos, 'NuScenes', lambda **arguments: pytest.fail('read all tables'))
    (root / 'maps').unlink()
    with pytest.raises(FileNotFoundError, match='There is no map .*map.png'):
        open_nuscenes(root, 'v1.0-mini')


def test_the_whole_ones_are_read(root):
    assert [path.name for path in create_info_files(root, 'v1.0-mini')] == [
        'nuscenes_infos_train.pkl', 'nuscenes_infos_val.pkl']
    assert cut_frames(root, root.with_name('excerpt'), 1) == 'v1.0-mini'
