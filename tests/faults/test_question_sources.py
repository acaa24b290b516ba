"""Questions that do not fit: to the frames, to the images, to the scenes that are named, or to each other."""
import copy
import itertools
import json

import cv2
import numpy as np
import pytest
from datasets.small_nuscenes import write_small_nuscenes
from mmdet3d.registry import DATASETS, TASK_UTILS

import scene_qformer.datasets  # noqa: F401  registers datasets and sources
from faults.good_questions import CAMERAS, GOOD
from scene_qformer.datasets.nuscenes_infos import create_info_files
from scene_qformer.datasets.questions import DrivingQuestion

AREA = 'Questions'
TRAIN = 'nuscenes_infos_train.pkl'


def write(folder, content):
    path = folder / 'questions.json'
    path.write_text(json.dumps(content))
    return str(path)


def spoilt(kind, *keys_and_value):
    """The good file with another value at a place."""
    *keys, last, value = keys_and_value
    content = copy.deepcopy(GOOD[kind])
    holder = content
    for key in keys:
        holder = holder[key]
    holder[last] = value
    return content


@pytest.mark.fault(area=AREA, fault='a question file that is not there', expected='said what is expected there',
                   remedy='Correct the path of the questions in the config.')
@pytest.mark.parametrize('kind', GOOD)
def test_no_file(tmp_path, show, kind):
    source = TASK_UTILS.build(dict(type=kind, path=str(tmp_path / 'questions.json')))
    with pytest.raises(FileNotFoundError, match=f'no question file .*questions.json.\n{kind} reads .*Correct the path'
                       ) as caught:
        source.load()
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='scenes that are no list of names', expected='refused',
                   remedy='Write a list: scenes=["scene-0061"].')
@pytest.mark.parametrize('scenes', ['scene-a', 7, [7], ['scene-a', None], True], ids=repr)
def test_no_scenes(tmp_path, show, scenes):
    with pytest.raises(ValueError, match='Expected scenes to be a list of names') as caught:
        TASK_UTILS.build(dict(type='DriveLMQuestions', path=write(tmp_path, GOOD['DriveLMQuestions']), scenes=scenes))
    if scenes in ('scene-a', [7]):
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='scenes that the file does not have', expected='said which it has',
                   remedy='Name the scenes as the file names them, or leave scenes out.')
@pytest.mark.parametrize(('kind', 'scenes'), [
    ('DriveLMQuestions', ['scene-0061']), ('DriveLMQuestions', []), ('GeneratedQuestions', ['scene-a', 'scene-b']),
    ('NuScenesQAQuestions', ['scene-a']), ('LLaVAConversations', ['scene-a'])])
def test_other_scenes(tmp_path, show, kind, scenes):
    source = TASK_UTILS.build(dict(type=kind, path=write(tmp_path, GOOD[kind]), scenes=scenes))
    with pytest.raises(ValueError, match='(about|no scene at all).*: expected scenes to name some of its|1 of 1 '
                       'questions name no scene') as caught:
        source.load()
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='an entry of a question file that is empty, or holds half a character',
                   expected='said which', remedy='Correct or remove the entry.')
@pytest.mark.parametrize('text', ['', ' \n', 'half \ud83d'], ids=ascii)
def test_texts(tmp_path, show, text):
    path = write(tmp_path, spoilt('GeneratedQuestions', 'questions', 0, 'question', text))
    with pytest.raises(ValueError, match="questions.json, 'question' of question 0: expected a text.*found (an em|half)"
                       ) as caught:
        TASK_UTILS.build(dict(type='GeneratedQuestions', path=path)).load()
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='a question file of one format is read as another',
                   expected='said what is expected',
                   remedy='Correct the type of the questions in the config, or their path.')
@pytest.mark.parametrize(('kind', 'reader'), list(itertools.permutations(GOOD, 2)))
def test_other_formats(tmp_path, show, kind, reader):
    with pytest.raises(ValueError, match=f'{reader} reads .*Is this such a file') as caught:
        TASK_UTILS.build(dict(type=reader, path=write(tmp_path, GOOD[kind]))).load()
    if kind == 'GeneratedQuestions' or reader == 'GeneratedQuestions':
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='a conversation whose voices do not take turns', expected='said where',
                   remedy='Let human and gpt take turns, and the human ask.')
@pytest.mark.parametrize('voices', [['human', 'human'], ['human', 'gpt', 'gpt'], ['user'], ['human', 'assistant'],
                                    ['gpt'], []], ids=repr)
def test_voices(tmp_path, show, voices):
    said = [{'from': voice, 'value': 'What is there?'} for voice in voices]
    path = write(tmp_path, spoilt('LLaVAConversations', 0, 'conversations', said))
    with pytest.raises(ValueError, match='as human and gpt take turns|expected a question of the human') as caught:
        TASK_UTILS.build(dict(type='LLaVAConversations', path=path)).load()
    if voices in (['human', 'human'], ['gpt']):
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='a source of your own makes questions that are none', expected='said which',
                   remedy='Correct the source: load() gives DrivingQuestion(id, type, turns=[(question, answer)], '
                          'sample_token).')
@pytest.mark.parametrize('changes', [
    dict(turns=()), dict(turns=('What is there?', 'A car.')), dict(turns=('ab', 'cd')), dict(turns=[('What?', 3)]),
    dict(turns=[('What?', 'A car.', 'red')]), dict(turns=[None]), dict(turns=[(' ', 'A car.')]),
    dict(turns=[('What?', ''), ('And?', 'A bus.')]), dict(id=7), dict(type=None), dict(sample_token='')], ids=repr)
def test_own_sources(show, changes):
    with pytest.raises(ValueError, match="[Qq]uestion '?[a7]'?") as caught:
        DrivingQuestion(**{**dict(id='a', type='count', turns=[('What?', 'A car.')], sample_token='t'), **changes})
    if changes != dict(turns=('ab', 'cd')):
        show(caught.value)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('questions') / 'nuscenes'
    write_small_nuscenes(folder, 'v1.0-mini', ('scene-0061', ), samples_per_scene=2)
    create_info_files(folder, 'v1.0-mini')
    return folder


def with_infos(root, kind, path, **more):
    return DATASETS.build(dict(type='mmdet3d.DrivingQuestionsDataset', questions=dict(type=kind, path=path),
                               data_root=str(root), ann_file=TRAIN, **more))


@pytest.mark.fault(area=AREA, fault='questions about frames of another split or data set', expected='said',
                   remedy='Correct the path of the questions, or ann_file: both must be of one data set and split.')
def test_other_frames(root, tmp_path, show):
    with pytest.raises(ValueError, match=r'None of the 1 samples that .*questions.json asks about .first: t') as caught:
        with_infos(root, 'GeneratedQuestions', write(tmp_path, GOOD['GeneratedQuestions']))
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='some questions are about frames that the info file does not have',
                   expected='left out, and said how many',
                   remedy='None, if so meant. Else take the info file of the same data set and split.')
def test_some_other_frames(root, tmp_path, show, warned):
    content = spoilt('GeneratedQuestions', 'questions', 0, 'sample_token', 'scene-0061-sample-1')
    content['questions'] += [dict(content['questions'][0], id=str(number), sample_token='t0') for number in range(2)]
    assert len(with_infos(root, 'GeneratedQuestions', write(tmp_path, content))) == 1
    warning, = (line for line in warned if 'left out' in line)
    assert '2 of 3 questions are left out: they are about 1 samples' in warning and warning.endswith('e.g. t0.')
    show(warning)


@pytest.mark.fault(area=AREA, fault='questions without answers are to be learned', expected='said which',
                   remedy='Give the dataset test_mode=True if these are for testing; else another file.')
def test_no_answers(root, tmp_path, show):
    pairs = [dict(Q='What is there?', A='')]
    frames = {'scene-0061-sample-0': dict(QA=dict(planning=pairs))}
    path = write(tmp_path, spoilt('DriveLMQuestions', 'scene-a', 'key_frames', frames))
    with pytest.raises(ValueError, match='1 questions of .*questions.json have no answer to learn, first') as caught:
        with_infos(root, 'DriveLMQuestions', path)
    show(caught.value)
    assert len(with_infos(root, 'DriveLMQuestions', path, test_mode=True)) == 1


def from_images(tmp_path, kind='DriveLMQuestions', content=None, **more):
    return DATASETS.build(dict(
        type='mmdet3d.DrivingImagesDataset', data_root=str(tmp_path), cam_names=more.pop('cam_names', CAMERAS),
        questions=dict(type=kind, path=write(tmp_path, content or GOOD[kind])), **more))


@pytest.mark.fault(area=AREA, fault='cameras of a dataset that are no list of names', expected='refused',
                   remedy="Write a list: cam_names=['CAM_FRONT'].")
@pytest.mark.parametrize('cam_names', ['CAM_FRONT', [], ['CAM_FRONT', 'CAM_FRONT'], None, [['A']], ['A', 3]], ids=repr)
def test_no_cameras(tmp_path, show, cam_names):
    with pytest.raises(ValueError, match='Expected cam_names of DrivingImagesDataset to be a list') as caught:
        from_images(tmp_path, cam_names=cam_names, check_images=False)
    if cam_names == 'CAM_FRONT':
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='questions without images for a dataset of images alone', expected='said',
                   remedy='Use DrivingQuestionsDataset with an info file; or correct cam_names.')
@pytest.mark.parametrize('case', ['another format', 'another camera', 'no camera'])
def test_no_image_paths(tmp_path, show, case):
    frame = ('scene-a', 'key_frames', 't0', 'image_paths')
    arguments = {'another format': dict(kind='GeneratedQuestions'), 'another camera': dict(cam_names=['CAM_7']),
                 'no camera': dict(content=spoilt('DriveLMQuestions', *frame, {}))}[case]
    with pytest.raises(ValueError, match='Sample t0 of .*questions.json has no image .*(paths|; it has)') as caught:
        from_images(tmp_path, **arguments)
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='images that a question file names are not there',
                   expected='said how many, and which first',
                   remedy='Correct data_root: it holds samples/. Unpack all image archives there.')
@pytest.mark.parametrize('number', [0, 1])
def test_no_images(tmp_path, show, number):
    for name in CAMERAS[:number]:
        (tmp_path / 'samples' / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / 'samples' / name / 't0.jpg'), np.zeros((5, 7, 3), np.uint8))
    with pytest.raises(FileNotFoundError, match=f'{2 - number} of 2 images are missing, first .*/t0.jpg') as caught:
        from_images(tmp_path)
    if number:
        show(caught.value)
