"""The common form of a question."""
import dataclasses
import pickle

import pytest

from scene_qformer.datasets.questions import DrivingQuestion

TURNS = (('How many cars?', '3'), ('And trucks?', ''))


def question(**changes):
    return DrivingQuestion(**{**dict(id='a', type='count', turns=TURNS, sample_token='t'), **changes})


def test_the_plain_dict():
    assert question().as_text() == dict(id='a', type='count', turns=[('How many cars?', '3'), ('And trucks?', '')])


def test_answered_means_the_last_turn():
    assert not question().answered
    assert question(turns=TURNS[:1]).answered
    assert not question(turns=(('Where?', ' \n'), )).answered


def test_frozen_and_picklable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        question().id = 'b'
    assert pickle.loads(pickle.dumps(question())) == question()


@pytest.mark.parametrize('turns, message', [
    ((), "'a' has no turn; expected at least one pair"),
    ((('How many?', '3', '4'), ), "Turn 0 of question 'a': expected a pair of texts, .* got .'How many.', '3', '4'"),
    ((('How many?', 3), ), "Turn 0 of question 'a': expected a pair of texts"),
    ((('How many?', '3'), (' ', '4')), "Turn 1 of question 'a' asks nothing"),
    (TURNS[::-1], "Turn 0 of question 'a' has no answer; only the last turn may"),
])
def test_turns_that_make_no_sense(turns, message):
    with pytest.raises(ValueError, match=message):
        question(turns=turns)
