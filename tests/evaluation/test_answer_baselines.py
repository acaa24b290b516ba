import pytest

from scene_qformer.evaluation.answer_baselines import MostFrequentAnswer
from scene_qformer.evaluation.driving_answer import DrivingAnswer
from scene_qformer.evaluation.exact_match import exact_match


def conversation(type, *turns):
    return dict(id='x', type=type, turns=turns)


TRAINING = [
    conversation('exist', ('Is there a car?', 'Yes.')),
    conversation('exist', ('Is there a car?', 'yes')),
    conversation('exist', ('Is there a bus?', 'no'), ('And now?', 'no')),
    conversation('exist', ('<image>\nis there a  bus?', 'no')),
    conversation('count', ('How many cars?', '2')),
    conversation('count', ('How many cars?', '1'), ('And buses?', '')),
]


def question(text, type, answer):
    return DrivingAnswer(text, type, text, answer, 'never looked at')


def test_three_ways():
    counts = MostFrequentAnswer(TRAINING)
    assert counts.overall() == 'no'  # 3 of 7; `Yes.` and `yes` are one answer, 2 of 7
    assert counts.by_type('exist') == 'no' and counts.by_type('count') == '1'  # of equals the first of the alphabet
    assert counts.by_type('unknown') == 'no'
    assert counts.by_question('Is there a car?', 'exist') == 'yes'
    assert counts.by_question('Is there a bus? <image>', 'exist') == 'no'
    assert counts.by_question('Is there a tram?', 'count') == '1'  # falls back to the type


def test_scored_like_a_model():
    test = [question('Is there a car?', 'exist', 'yes'), question('Is there a bus?', 'exist', 'no'),
            question('How many cars?', 'count', '1'), question('How many vans?', 'count', '2'),
            question('Where?', 'where', 'behind')]
    answers = MostFrequentAnswer(TRAINING).answer(test)
    right = {name: exact_match(run)[0].right for name, run in answers.items()}
    assert right == {'most frequent answer': 1, 'most frequent of the type': 2, 'most frequent of the question': 3}
    assert [each.prediction for each in answers['most frequent of the type']] == ['no', 'no', '1', '1', 'no']
    assert [each.id for each in answers['most frequent of the question']] == [each.id for each in test]


def test_no_questions():
    with pytest.raises(ValueError, match='expected at least one training question with an answer'):
        MostFrequentAnswer([])


def test_the_mark_of_the_scene_tokens_is_no_part_of_the_text():
    counts = MostFrequentAnswer([conversation('where', ('<image>\nWhere is the bus?', 'behind')),
                                 conversation('where', ('Where is the van?', 'ahead'))])
    assert counts.by_type('where') == 'ahead'
    assert counts.by_question('where is the bus?', 'where') == 'behind'
    assert counts.by_question('Where is the <image> bus?', 'where') == 'behind'
