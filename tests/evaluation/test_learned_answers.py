import pytest

from scene_qformer.evaluation.driving_answer import DrivingAnswer
from scene_qformer.evaluation.learned_answers import LearnedAnswers, count_learned, is_exact

# id, frame, question, answer, what the model says, what the blind one says
ASKED = [
    ('0', 'f0', 'Cones?', 'Yes.', 'Yes.', 'Yes.'),
    ('1', 'f1', 'Cones?', 'No.', 'No.', 'Yes.'),
    ('2', 'f2', 'Cones?', 'No.', 'No.', 'Yes.'),
    ('3', 'f0', 'Rain?', 'No.', 'No.', 'No.'),
    ('4', 'f1', 'Rain?', 'No.', 'no.', 'No.'),
    ('5', 'f1', 'Bus?', 'One.', 'One.', 'One.'),  # twice in one frame, with two answers: one of them at most
    ('6', 'f1', 'Bus?', 'Two.', 'One.', 'One.'),
]
FRAMES = {each[0]: each[1] for each in ASKED}


def answers(column):
    return [DrivingAnswer(each[0], 'any', each[2], each[3], each[column]) for each in ASKED]


def test_by_hand():
    groups = count_learned(answers(4), FRAMES, answers(5))
    assert groups == {
        'all': LearnedAnswers(questions=7, exact=5, best_by_sight=6, best_by_text=5, exact_blind=4),
        'answered otherwise elsewhere': LearnedAnswers(3, 3, best_by_sight=3, best_by_text=2, exact_blind=1),
        'others': LearnedAnswers(4, 2, best_by_sight=3, best_by_text=3, exact_blind=3),
    }
    assert {name: counts.seen for name, counts in groups.items()} == {
        'all': 0, 'answered otherwise elsewhere': 1, 'others': 0}


def test_without_a_blind_model():
    assert count_learned(answers(4), FRAMES)['all'].exact_blind is None


def test_exact_is_letter_by_letter():
    assert is_exact(DrivingAnswer('0', 'any', 'Where?', ' <c1,CAM_BACK,1088.3,497.5>', '<c1,CAM_BACK,1088.3,497.5>'))
    for prediction in ('<c1,CAM_BACK,1088.3,497.6>', '<c1, CAM_BACK,1088.3,497.5>', '<C1,CAM_BACK,1088.3,497.5>'):
        assert not is_exact(DrivingAnswer('0', 'any', 'Where?', '<c1,CAM_BACK,1088.3,497.5>', prediction))


def test_other_questions_are_refused():
    with pytest.raises(ValueError, match='the same 7 questions, got 6 answers'):
        count_learned(answers(4), FRAMES, answers(5)[1:])
