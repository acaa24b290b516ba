"""What goes wrong when info files are created, converted, or cut for a few frames."""
import copy
import pickle
from functools import partial

import mmengine
import numpy as np
import pytest
from datasets.small_nuscenes import write_small_nuscenes
from mmengine.config import Config
from mmengine.registry import DefaultScope

from faults.small_root import edit_table
from scene_qformer.datasets.info_conversion import convert_info_file
from scene_qformer.datasets.info_file import load_info_file
from scene_qformer.datasets.nuscenes_excerpt import cut_frames
from scene_qformer.datasets.nuscenes_infos import create_info_files, open_nuscenes
from scene_qformer.datasets.nuscenes_scene_dataset import NuScenesSceneDataset
from scene_qformer.datasets.questions.generator import create_question_files
from scene_qformer.token_extraction import build_split

AREA = 'Creating data'
INFOS = ['nuscenes_infos_train.pkl', 'nuscenes_infos_val.pkl']


@pytest.mark.fault(area=AREA, fault='a root or a version of nuScenes that is not there', expected='said what there is',
                   remedy='Correct --root and --version, or unpack the metadata archive there.')
@pytest.mark.parametrize('case', ['no root', 'a file', 'an empty folder', 'another version', 'no such version',
                                  'tables are missing'])
def test_not_there(root, show, case):
    version, place = 'v1.0-mini', root
    if case == 'no root':
        place = root / 'nowhere'
    elif case == 'a file':
        place = root / 'v1.0-mini/scene.json'
    elif case == 'an empty folder':
        place = root / 'empty'
        place.mkdir()
    elif case == 'tables are missing':
        for table in ('ego_pose', 'sample'):
            (root / f'v1.0-mini/{table}.json').unlink()
    else:
        version = 'v1.0-trainval' if case == 'another version' else 'v2.0'
    with pytest.raises((OSError, ValueError), match='does not exist|has no folder v1.0|Unknown version|is a '
                       'file|lacks ego_pose.json, sample.json') as caught:
        create_info_files(place, version)
    assert not list(root.glob('**/*.pkl'))
    if case != 'a file':
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='info files are there already', expected='refused, and nothing is overwritten',
                   remedy='Give --overwrite to replace them, or another --out.')
@pytest.mark.parametrize('names', [INFOS, INFOS[1:]], ids=['both', 'one'])
def test_already_there(root, show, names):
    for name in names:
        (root / name).write_bytes(b'precious')
    with pytest.raises(FileExistsError, match=rf'{names[0]}.* already there. Give --overwrite') as caught:
        create_info_files(root, 'v1.0-mini')
    assert [path.name for path in sorted(root.glob('*.pkl'))] == names
    assert all((root / name).read_bytes() == b'precious' for name in names)
    if names != INFOS:
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='the folder to write into is a file',
                   expected='refused before the work begins', remedy='Give another --out.')
@pytest.mark.parametrize('out', ['file', 'file/folder'])
def test_out_is_a_file(root, tmp_path, show, out):
    (tmp_path / 'file').write_bytes(b'precious')
    with pytest.raises(NotADirectoryError, match='file is a file; expected a folder to write nus') as caught:
        create_info_files(root, 'v1.0-mini', out=tmp_path / out, overwrite=True)
    show(caught.value)
    assert (tmp_path / 'file').read_bytes() == b'precious'


@pytest.mark.fault(area=AREA, fault='a number of sweeps or processes that is none', expected='refused',
                   remedy='Correct --max-sweeps or --workers.')
@pytest.mark.parametrize('numbers', [dict(max_sweeps=-1), dict(workers=0), dict(workers=-2)], ids=repr)
def test_numbers(root, show, numbers):
    with pytest.raises(ValueError, match='--max-sweeps of 0 or more and --workers of 1 or more') as caught:
        create_info_files(root, 'v1.0-mini', **numbers)
    assert not list(root.glob('*.pkl'))
    if 'max_sweeps' in numbers:
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='the image archives are not all unpacked', expected='said which image is missing',
                   remedy='Unpack all image archives of this version, or copy the image again.')
def test_no_image(tmp_path, show):
    root = write_small_nuscenes(tmp_path / 'nuscenes', 'v1.0-mini', ('scene-0061', ), samples_per_scene=1)
    next((root / 'samples/CAM_BACK').iterdir()).unlink()
    with pytest.raises(FileNotFoundError, match='no image .*camera CAM_BACK of sample scene-0061-sample-0') as caught:
        create_info_files(root, 'v1.0-mini')
    show(caught.value)
    assert not list(root.glob('*.pkl'))


@pytest.mark.fault(area=AREA, fault='a key frame without one of its six cameras',
                   expected='said which sample and camera',
                   remedy='Unpack the metadata archive again, or remove the sample as the message says.')
@pytest.mark.parametrize('lost', ['CAM_FRONT', 'LIDAR_TOP'])
def test_no_camera(root, show, lost):
    edit_table(root, 'sample_data', lambda rows: next(
        row for row in rows if lost in row['filename'] and row['is_key_frame']).update(is_key_frame=False))
    with pytest.raises(ValueError, match=f'Sample scene-0061-sample-0 of .* has no {lost} in the .*To do w') as caught:
        create_info_files(root, 'v1.0-mini')
    if lost == 'CAM_FRONT':
        show(caught.value)


def test_a_sample_is_left_out(tmp_path):
    """As the message for a key frame without a camera advises."""
    root = write_small_nuscenes(tmp_path / 'nuscenes', 'v1.0-mini', ('scene-0061', ), samples_per_scene=3)
    lost = 'scene-0061-sample-1'
    for table, key in (('sample', 'token'), ('sample_data', 'sample_token'), ('sample_annotation', 'sample_token')):
        edit_table(root, table, partial(leave_out, key=key, value=lost))
    train, _ = create_info_files(root, 'v1.0-mini')
    first, last = load_info_file(train)['data_list']
    assert (first['token'], last['token']) == ('scene-0061-sample-0', 'scene-0061-sample-2')
    assert len(last['lidar_sweeps']) == 5  # two before each of both, and the other key frame
    assert np.hypot(*first['instances'][0]['velocity']) == pytest.approx(np.hypot(5, 1), rel=1e-3)  # tilted


def leave_out(rows, key, value):
    """Remove rows, and let others' ``prev`` and ``next`` lead past them."""
    gone = {row['token']: row for row in rows if row[key] == value}
    rows[:] = [row for row in rows if row[key] != value]
    for row in rows:
        for column in ('prev', 'next'):
            while row[column] in gone:
                row[column] = gone[row[column]][column]


@pytest.mark.fault(area='Paths', fault='tables of nuScenes that name files of the system', expected='refused',
                   remedy='Correct the path in sample_data.json. To use files of another disk, put a link into the '
                          'root; links are followed.')
@pytest.mark.parametrize('path', ['/etc/passwd', '../../x.jpg', ''])
def test_paths(root, show, path):
    edit_table(root, 'sample_data', lambda rows: rows[0].update(filename=path))
    with pytest.raises(ValueError, match='Table sample_data of .*, CAM_FRONT of sample scene-0061-sample') as caught:
        create_info_files(root, 'v1.0-mini')
    if path == '../../x.jpg':
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='LiDAR files are missing', expected='said, and the info files are written',
                   remedy='None is needed for camera models. To show or evaluate points, unpack the LiDAR archives.')
def test_no_lidar(tmp_path, show, capsys):
    root = write_small_nuscenes(tmp_path / 'nuscenes', 'v1.0-mini', ('scene-0061', ), samples_per_scene=2)
    next((root / 'samples/LIDAR_TOP').iterdir()).unlink()
    create_info_files(root, 'v1.0-mini')
    warning, = (line for line in capsys.readouterr().out.splitlines() if 'Warning' in line)
    assert '1 of 2 key frames have no LiDAR file' in warning
    show(warning)
    assert len(load_info_file(root / INFOS[0])['data_list']) == 2


@pytest.mark.fault(area=AREA, fault='scenes that are in no official split', expected='said where they go',
                   remedy='None, if so meant. Else name your scenes as the official splits do: the official metric '
                          'refuses others.')
@pytest.mark.parametrize('version', ['v1.0-mini', 'v1.0-test'])
def test_strangers(tmp_path, show, capsys, version):
    scenes = ('scene-0061' if version == 'v1.0-mini' else 'scene-0077', *(f'mine-{number}' for number in range(6)))
    root = write_small_nuscenes(tmp_path / 'nuscenes', version, scenes, samples_per_scene=1)
    create_info_files(root, version)
    warning, = (line for line in capsys.readouterr().out.splitlines() if 'Warning' in line)
    assert '6 scenes are in no official split' in warning and 'mine-0, mine-1' in warning
    show(warning)


@pytest.mark.fault(area=AREA, fault='no scene of a split is there', expected='said; an info file without frames',
                   remedy='None, if so meant. Else use a root with scenes of that split.')
def test_no_scene(tmp_path, show, capsys):
    root = write_small_nuscenes(tmp_path / 'nuscenes', 'v1.0-mini', ('scene-0103', ), samples_per_scene=1)
    create_info_files(root, 'v1.0-mini')
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f'Reading the tables of {root}'  # which takes a minute of all of nuScenes
    line, = (line for line in lines if 'train.pkl' in line)
    assert line.endswith('0 frames (no scene of the train split here)')
    show(line)
    assert load_info_file(root / INFOS[0])['data_list'] == []


@pytest.mark.fault(area='Info files', fault='an info file is converted to or from something else', expected='refused',
                   remedy='Name files that end in .pkl or .json.')
@pytest.mark.parametrize('names', [('infos.pkl', 'infos.yaml'), ('infos.txt', 'infos.json'), ('infos', 'infos.json')])
def test_endings(tmp_path, show, names):
    (tmp_path / names[0]).write_bytes(b'x')
    with pytest.raises(ValueError, match=r'Expected info files to end in .json or .pkl, got .*infos') as caught:
        convert_info_file(*(tmp_path / name for name in names))
    assert [path.name for path in tmp_path.iterdir()] == [names[0]]
    if names[1] == 'infos.yaml':
        show(caught.value)


@pytest.mark.fault(area='Info files', fault='an info file to convert that is not there',
                   expected='said how it is made',
                   remedy='Correct the path, or create the info file: python tools/create_data.py --root ROOT '
                          '--version VERSION.')
def test_nothing_to_convert(tmp_path, show):
    with pytest.raises(FileNotFoundError, match='There is no info file .*infos.pkl.\nCreate it with') as caught:
        convert_info_file(tmp_path / 'infos.pkl', tmp_path / 'infos.json')
    show(caught.value)


@pytest.mark.fault(area='Info files', fault='an info file with lists in lists without end', expected='said',
                   remedy='Create the info file anew: python tools/create_data.py --root ROOT --version VERSION.')
def test_nested(tmp_path, show):
    whole = pickle.dumps(dict(metainfo={}, data_list=[dict(token='a', x='DEEP')]), protocol=2)
    (tmp_path / 'infos.pkl').write_bytes(whole.replace(b'X\x04\0\0\0DEEP', b']' * 10 ** 4 + b'a' * (10 ** 4 - 1)))
    with pytest.raises(ValueError, match='infos.pkl is nested too deeply') as caught:
        convert_info_file(tmp_path / 'infos.pkl', tmp_path / 'infos.json')
    show(caught.value)
    assert not (tmp_path / 'infos.json').exists()


@pytest.mark.fault(area='Info files', fault='an info file would be converted over another file',
                   expected='refused, and nothing is overwritten',
                   remedy='Give --overwrite to replace it, or another name.')
def test_conversion_over(tmp_path, show):
    mmengine.dump(dict(metainfo={}, data_list=[dict(token='a')]), tmp_path / 'infos.pkl')
    (tmp_path / 'infos.json').write_text('precious')
    with pytest.raises(FileExistsError, match='infos.json already there. Give --.* or another name') as caught:
        convert_info_file(tmp_path / 'infos.pkl', tmp_path / 'infos.json')
    show(caught.value)
    assert (tmp_path / 'infos.json').read_text() == 'precious'


@pytest.mark.fault(area='Info files', fault='an info file is converted to where its folder should be a file',
                   expected='refused', remedy='Name a folder.')
def test_conversion_below_a_file(tmp_path, show):
    mmengine.dump(dict(metainfo={}, data_list=[dict(token='a')]), tmp_path / 'infos.pkl')
    with pytest.raises(NotADirectoryError, match='infos.pkl is a file; expected a folder to write b.json') as caught:
        convert_info_file(tmp_path / 'infos.pkl', tmp_path / 'infos.pkl/b.json')
    show(caught.value)


@pytest.fixture(params=['.pkl', '.json', 'shared'])
def repeated(request, root):
    """An info file that lists a sample thrice; 'shared': in a pickle whose entries are one object."""
    train, _ = create_info_files(root, 'v1.0-mini', out=root.with_name('infos'))
    content = load_info_file(train)
    frame, other = content['data_list']
    repeats = [frame, frame] if request.param == 'shared' else [copy.deepcopy(frame), dict(frame)]
    path = train.with_name(f'repeated{request.param.replace("shared", ".pkl")}')
    mmengine.dump(dict(content, data_list=[frame, other, *repeats]), path)
    return path


@pytest.mark.fault(area='Info files', fault='an info file that lists a sample twice is evaluated on, or questions are '
                   'made from it', expected='said which; training on it works',
                   remedy='Create the info file anew: python tools/create_data.py --root ROOT --version VERSION. To '
                          'train on some samples more often, use CBGSDataset or RepeatDataset.')
def test_twice(root, repeated, show):
    said = rf"Entries 0 and 2 of 'data_list' of .*{repeated.name} are both about .*CBGSDataset or RepeatDataset in"
    with pytest.raises(ValueError, match=f'(?s){said}') as caught:
        NuScenesSceneDataset(str(root), str(repeated), test_mode=True)
    if repeated.suffix == '.pkl':
        show(caught.value)
        (repeated.parent / INFOS[0]).unlink()
        repeated.rename(repeated.parent / INFOS[0])
        with pytest.raises(ValueError, match=f'(?s){said.replace(repeated.name, INFOS[0])}'):
            create_question_files(root, 'v1.0-mini', info_root=repeated.parent)
        assert not list(repeated.parent.glob('questions*'))


@pytest.mark.parametrize('relative', [False, True])
def test_rare_frames_are_repeated_in_training(root, repeated, monkeypatch, relative):
    """On purpose, so that they are learnt more often; their tokens may be extracted, too."""
    monkeypatch.chdir(root.parent)
    place = 'nuscenes' if relative else str(root)
    pipeline = [dict(type='LoadSurroundImages')]
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        dataset = NuScenesSceneDataset(place, str(repeated), pipeline)
    assert [dataset[number]['token'][-1] for number in range(len(dataset))] == ['0', '1', '0', '0']
    np.testing.assert_array_equal(dataset[0]['img'], dataset[2]['img'])
    boxes = [dataset.get_data_info(number)['ann_info']['gt_bboxes_3d'].tensor for number in (0, 2, 3)]
    assert boxes[0].equal(boxes[1]) and boxes[0].equal(boxes[2]) and len(boxes[0]) > 0

    loader = dict(dataset=dict(type='NuScenesSceneDataset', data_root=place, ann_file=str(repeated), pipeline=pipeline))
    assert len(build_split(Config(dict(train_dataloader=loader, test_dataloader=loader)), 'train')) == 4


@pytest.mark.fault(area=AREA, fault='a root to cut frames from that is none, or has no tables with annotations',
                   expected='said', remedy='Correct data_root in the config, or create a synthetic root.')
@pytest.mark.parametrize('version', ['nothing', 'v1.0-test'])
def test_no_root_to_cut(root, show, version):
    (root / 'v1.0-mini').rename(root / version)
    with pytest.raises(FileNotFoundError, match='is no nuScenes root with annotations') as caught:
        cut_frames(root, root.with_name('excerpt'), 1)
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='frames are cut into a folder that is there', expected='refused; it stays as it is',
                   remedy='Remove that folder, or name another.')
def test_excerpt_there(root, show):
    with pytest.raises(FileExistsError, match='nuscenes is there already') as caught:
        cut_frames(root, root, 1)
    show(caught.value)
    open_nuscenes(root, 'v1.0-mini')


@pytest.mark.fault(area=AREA, fault='frames or a scene to cut that are not there', expected='said what there is',
                   remedy='Correct --frames, --first-frame or --scene.')
@pytest.mark.parametrize('wanted', [
    dict(num_frames=3), dict(num_frames=0), dict(num_frames=-1), dict(num_frames=1, first=2),
    dict(num_frames=1, first=-2), dict(num_frames=1, scene='scene-0061'), dict(num_frames=1, scene='')], ids=repr)
def test_no_frames(root, show, wanted):
    with pytest.raises(ValueError, match='Scene scene-0103 has 2 frames: there are no|No scene ') as caught:
        cut_frames(root, root.with_name('excerpt'), **wanted)
    assert not root.with_name('excerpt').exists()
    if wanted in (dict(num_frames=3), dict(num_frames=1, first=-2), dict(num_frames=1, scene='scene-0061')):
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='no scene of the validation split to cut frames from', expected='said',
                   remedy='Cut from a root with a scene of the validation split: it is the one that is scored.')
def test_no_scene_to_cut(tmp_path, show):
    root = write_small_nuscenes(tmp_path / 'nuscenes', 'v1.0-mini', ('scene-0061', ), samples_per_scene=1)
    with pytest.raises(ValueError, match='No scene at all in the validation split of v1.0-mini') as caught:
        cut_frames(root, tmp_path / 'excerpt', 1)
    show(caught.value)
