"""Conversations in LLaVA's format."""
import pytest
from question_files import CAMERAS, llava, write

from scene_qformer.datasets.questions import LLaVAConversations


def load(folder, content):
    return LLaVAConversations(write(folder, content)).load()


def test_by_hand(tmp_path):
    first, second, third = load(tmp_path, llava())
    assert (first.id, first.type, first.scene, first.sample_token) == ('first', 'caption', 'scene-a', 't0')
    assert first.turns == (('<image>\nWhat is there?', 'A bus.'), ('Is it parked?', 'No.'))
    assert first.image_paths is None  # one file says nothing about six cameras
    assert (second.id, second.type, second.scene, second.sample_token) == ('t1_0', 'conversation', None, 't1')
    assert second.image_paths == {camera: f'../nuscenes/samples/{camera}/t1.jpg' for camera in CAMERAS}
    assert (third.id, third.sample_token) == ('t1_1', 't1')


def test_a_first_word_of_the_model_is_skipped(tmp_path):
    content = llava()
    content[0]['conversations'].insert(0, {'from': 'gpt', 'value': 'Welcome.'})
    assert load(tmp_path, content) == load(tmp_path, llava())


def test_a_last_question_without_an_answer(tmp_path):
    content = llava()
    del content[0]['conversations'][-1]
    first = load(tmp_path, content)[0]
    assert first.turns == (('<image>\nWhat is there?', 'A bus.'), ('Is it parked?', '')) and not first.answered


@pytest.mark.parametrize('damage, message', [
    (lambda c: c[0].pop('id'), "entry 0: expected a text 'id', found none; it has sample_token, image"),
    (lambda c: c[1].update(conversations={}), "'conversations' of entry 1: expected a list, found an object"),
    (lambda c: c[1].update(conversations=[]), "'conversations' of entry 1: expected a question of the human"),
    (lambda c: c[0]['conversations'].pop(1),
     r'conversations\[1\] of entry 0: expected "from": "gpt", as human and gpt take turns, found \'human\''),
    (lambda c: c[0]['conversations'][3].update({'from': 'assistant'}),
     r'conversations\[3\] of entry 0: expected "from": "gpt", .* found \'assistant\''),
    (lambda c: c[0]['conversations'][0].update({'from': 'system'}), r'conversations\[0\] of entry 0: .*\'system\''),
    (lambda c: c[0]['conversations'][2].pop('value'), r"conversations\[2\] of entry 0: expected a text 'value', found"),
    (lambda c: c[0].update(sample_token=7), "'sample_token' of entry 0: expected a text, found 7"),
    (lambda c: c[0].update(scene=None), "'scene' of entry 0: expected a text, found null"),
])
def test_damage(tmp_path, damage, message):
    content = llava()
    damage(content)
    with pytest.raises(ValueError, match=f'questions.json, {message}'):
        load(tmp_path, content)
