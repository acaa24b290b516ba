"""What goes wrong when questions are made from annotations."""
import pickle
import shutil

import pytest
from datasets.small_nuscenes import write_small_nuscenes

from faults.small_root import edit_table
from scene_qformer.datasets.nuscenes_infos import create_info_files
from scene_qformer.datasets.questions.generator import create_question_files

AREA = 'Creating questions'
ANEW = 'Create the info files anew: python tools/create_data.py --root ROOT --version VERSION.'
TRAIN, VAL = 'nuscenes_infos_train.pkl', 'nuscenes_infos_val.pkl'


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp('questions') / 'nuscenes'
    write_small_nuscenes(root, 'v1.0-mini', ('scene-0061', 'scene-0103'), samples_per_scene=2)
    create_info_files(root, 'v1.0-mini')
    return root


@pytest.fixture
def infos(small, tmp_path):
    """A folder of info files that may be damaged."""
    folder = tmp_path / 'infos'
    folder.mkdir()
    for name in (TRAIN, VAL):
        shutil.copy(small / name, folder)
    return folder


def edit(path, change):
    content = pickle.loads(path.read_bytes())
    change(content)
    path.write_bytes(pickle.dumps(content))


def refused(small, infos, match, **more):
    with pytest.raises((ValueError, FileNotFoundError, FileExistsError), match=match) as caught:
        create_question_files(small, **{**dict(version='v1.0-mini', info_root=infos), **more})
    assert not [path for path in infos.glob('questions*') if path.read_text() != 'precious']
    return caught.value


@pytest.mark.fault(area=AREA, fault='question files are there already', expected='refused; nothing is overwritten',
                   remedy='Give --overwrite to replace them, or another --out.')
@pytest.mark.parametrize('name', ['questions_train.json', 'questions_val.json'])
def test_already_there(small, infos, show, name):
    (infos / name).write_text('precious')
    show(refused(small, infos, f'{name} already there. Give --overwrite'))
    assert (infos / name).read_text() == 'precious'


@pytest.mark.fault(area=AREA, fault='the folder to write questions into is a file',
                   expected='refused before the work begins', remedy='Give another --out.')
def test_out_is_a_file(small, infos, show):
    with pytest.raises(NotADirectoryError, match='train.pkl is a file; expected a folder to write qu') as caught:
        create_question_files(small, 'v1.0-mini', out=infos / TRAIN, info_root=infos)
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='a version without annotations', expected='said which have some',
                   remedy='Give --version v1.0-mini or v1.0-trainval.')
def test_no_annotations(small, infos, show):
    show(refused(small, infos, 'v1.0-test has no annotations', version='v1.0-test'))


@pytest.mark.fault(area=AREA, fault='less than one question a frame', expected='refused', remedy='Correct --per-frame.')
@pytest.mark.parametrize('per_frame', [0, -3])
def test_none_a_frame(small, infos, show, per_frame):
    show(refused(small, infos, 'Expected at least one question a frame', per_frame=per_frame))


@pytest.mark.fault(area=AREA, fault='info files of another version or root', expected='said which',
                   remedy='Give that version, and --root and --info-root that belong together, or create info files '
                          'anew.')
@pytest.mark.parametrize('case', ['another version', 'another root'])
def test_other_infos(small, infos, show, case):
    def change(content):
        if case == 'another version':
            content['metainfo']['version'] = 'v1.0-trainval'
        else:
            content['data_list'][0]['token'] = 'elsewhere'
    edit(infos / VAL, change)
    show(refused(small, infos, "val.pkl was made from version 'v1.0-trainval'|Sample elsewhere of the info files is "))


@pytest.mark.fault(area=AREA, fault='a scene stands in the training and in the validation split',
                   expected='refused', remedy=ANEW)
def test_both_splits(small, infos, show):
    shutil.copy(infos / VAL, infos / TRAIN)
    show(refused(small, infos, 'have 1 scenes in both splits, scene-0103 first'))


@pytest.mark.fault(area=AREA, fault='frames that are too few or too alike for questions', expected='said',
                   remedy='Take a root with more frames or scenes; or only the split that has them, in an --info-root.')
def test_too_few(small, infos, show):
    def without_objects(content):
        for frame in content['data_list']:
            for instance in frame['instances']:
                instance.update(num_lidar_pts=0, num_radar_pts=0)
    edit(infos / TRAIN, without_objects)
    show(refused(small, infos, 'The 2 train frames of .* leave no question whose answer is not always the same'))


@pytest.mark.fault(area=AREA, fault='objects of an info file that are none, or not those of the tables',
                   expected='said of which sample', remedy=ANEW)
@pytest.mark.parametrize('case', ['no objects', 'no list', 'one less', 'no velocity', 'no object'])
def test_other_objects(small, infos, show, case):
    def change(content):
        frame = content['data_list'][1]
        if case == 'no objects':
            del frame['instances']
        elif case == 'no list':
            frame['instances'] = dict(a=1)
        elif case == 'one less':
            frame['instances'].pop()
        elif case == 'no object':
            frame['instances'][2] = None
        else:
            del frame['instances'][2]['velocity']
    edit(infos / TRAIN, change)
    found = refused(small, infos, '(?i)sample scene-0061-sample-1 (has|lacks) .*Create the info files anew from')
    if case not in ('no list', 'no object'):
        show(found)


@pytest.mark.fault(area=AREA, fault='info files that are not there, or lack a camera',
                   expected='said how they are made', remedy=ANEW)
@pytest.mark.parametrize('case', ['no file', 'no camera'])
def test_no_infos(small, infos, show, case):
    if case == 'no file':
        (infos / VAL).unlink()
    else:
        edit(infos / VAL, lambda content: content['data_list'][0]['images'].pop('CAM_BACK'))
    show(refused(small, infos, 'no info file .*val.pkl|Sample scene-0103-sample-0 of .*val.pkl has no camera CAM_BACK'))


@pytest.mark.fault(area=AREA, fault='a table that the questions are made from is damaged', expected='said which record',
                   remedy='Unpack the metadata archive again; correct tables that you wrote yourself.')
def test_tables(tmp_path, show):
    root = write_small_nuscenes(tmp_path / 'nuscenes', 'v1.0-mini', ('scene-0061', 'scene-0103'), samples_per_scene=1)
    create_info_files(root, 'v1.0-mini')
    edit_table(root, 'sample_annotation', lambda rows: rows[0].update(attribute_tokens=['gone']))
    with pytest.raises(ValueError, match="sample_annotation.json, record .*: its attribute_tokens is 'gone'") as caught:
        create_question_files(root, 'v1.0-mini')
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='a split without frames', expected='said; it gets no file',
                   remedy='None, if so meant; remove an earlier file of it. Else use a root with scenes of that split.')
@pytest.mark.parametrize('earlier', [False, True])
def test_no_frames(synthetic_root, tmp_path, show, capsys, earlier):
    if earlier:
        (tmp_path / 'questions_val.json').write_text('precious')
    create_info_files(synthetic_root, 'v1.0-mini', out=tmp_path)
    edit(tmp_path / VAL, lambda content: content['data_list'].clear())
    written, = create_question_files(synthetic_root, 'v1.0-mini', info_root=tmp_path, overwrite=earlier)
    line, = (line for line in capsys.readouterr().out.splitlines() if line.startswith('No '))
    assert written.name == 'questions_train.json' and (tmp_path / 'questions_val.json').exists() == earlier
    assert line.endswith('is of an earlier time and stays') == earlier
    show(line)
