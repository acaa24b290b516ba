"""DriveLM-nuScenes' official JSON."""
import pytest
from question_files import CAMERAS, drivelm, write

from scene_qformer.datasets.questions import DriveLMQuestions


def load(folder, content):
    return DriveLMQuestions(write(folder, content)).load()


def test_by_hand(tmp_path):
    questions = load(tmp_path, drivelm())
    assert [(question.sample_token, question.type) for question in questions] == [
        ('t0', 'perception'), ('t0', 'planning'),
        ('t1', 'perception'), ('t1', 'perception'), ('t1', 'planning'),
        ('t2', 'perception'), ('t2', 'perception'), ('t2', 'perception'), ('t2', 'planning')]
    last = questions[-1]
    assert last.id == 'scene-b_t2_3' and last.scene == 'scene-b'
    assert last.turns == (('What is safe for <c1,CAM_BACK,1088.3,497.5>?', 'Brake.'), )
    assert last.image_paths == {camera: f'../nuscenes/samples/{camera}/t2.jpg' for camera in CAMERAS}


def test_tasks_are_numbered_in_their_order_not_the_files(tmp_path):
    content = drivelm()
    tasks = content['scene-b']['key_frames']['t2']['QA']
    content['scene-b']['key_frames']['t2']['QA'] = dict(reversed(tasks.items()))
    assert [question.id for question in load(tmp_path, content)] == [
        question.id for question in load(tmp_path, drivelm())]


@pytest.mark.parametrize('answer', ['', None, 'missing'])
def test_questions_whose_answers_are_kept_back(tmp_path, answer):
    content = drivelm()
    pair = content['scene-a']['key_frames']['t0']['QA']['planning'][0]
    pair['A'] = answer
    if answer == 'missing':
        del pair['A']
    kept_back = load(tmp_path, content)[1]
    assert kept_back.turns == (('What is safe for <c1,CAM_BACK,1088.3,497.5>?', ''), ) and not kept_back.answered


def test_no_image_paths(tmp_path):
    content = drivelm()
    del content['scene-b']['key_frames']['t2']['image_paths']
    assert load(tmp_path, content)[-1].image_paths is None


def frames(content):
    return content['scene-a']['key_frames']


@pytest.mark.parametrize('damage, message', [
    (lambda c: c['scene-a'].pop('key_frames'),
     "scene scene-a: expected an object 'key_frames', found none; it has scene_description"),
    (lambda c: c.update({'scene-b': 5}), "'scene-b' of the file: expected an object, found 5"),
    (lambda c: frames(c).update(t1=[]), 'key frame t1 of scene scene-a: expected an object, found a list'),
    (lambda c: frames(c)['t1'].pop('QA'), "key frame t1 of scene scene-a: expected an object 'QA', found none; it has"),
    (lambda c: frames(c)['t1']['QA'].update(perception=None),
     "'perception' of QA of key frame t1 of scene scene-a: expected a list, found null"),
    (lambda c: frames(c)['t1']['QA'].update(driving=[]),
     "QA of key frame t1 .* expected the tasks perception, prediction, planning, behavior, found 'driving'"),
    (lambda c: frames(c)['t1']['QA']['perception'][1].pop('Q'),
     r"pair 1 \(perception\) of key frame t1 of scene scene-a: expected a text 'Q', found none; it has A, C"),
    (lambda c: frames(c)['t1']['QA']['planning'][0].update(Q=' '),
     r"'Q' of pair 2 \(planning\) of key frame t1 of scene scene-a: expected a text, found an empty one"),
    (lambda c: frames(c)['t1']['QA']['planning'][0].update(A=['Brake.']),
     r"'A' of pair 2 \(planning\) of key frame t1 .*: expected a text, found a list"),
    (lambda c: frames(c)['t1']['image_paths'].update(CAM_BACK=None),
     "'CAM_BACK' of image_paths of key frame t1 .* expected a text, found null"),
])
def test_damage(tmp_path, damage, message):
    content = drivelm()
    damage(content)
    with pytest.raises(ValueError, match=rf'questions.json, {message}'):
        load(tmp_path, content)
