import pytest

from scene_qformer.evaluation.driving_answer import DrivingAnswer
from scene_qformer.evaluation.exact_match import Accuracy, exact_match, is_right, normalize_answer

# The 30 answers of NuScenes-QA (arXiv:2305.14836).
NUSCENES_QA = [
    *map(str, range(11)), 'no', 'yes', 'barrier', 'bicycle', 'bus', 'car', 'construction vehicle', 'motorcycle',
    'moving', 'not standing', 'parked', 'pedestrian', 'standing', 'stopped', 'traffic cone', 'trailer', 'truck',
    'with rider', 'without rider'
]


def answer(truth, prediction, type='exist'):
    return DrivingAnswer('q', type, 'What?', truth, prediction)


@pytest.mark.parametrize(('truth', 'prediction', 'right'), [
    ('yes', 'Yes.', True),
    ('traffic cone', ' Traffic\n cone ', True),
    ('Two cars.', 'two cars!?', True),
    ('2', 'two', False),
    ('car', 'a car', False),
    ('standing', 'not standing', False),
    ('3.5', '35', False),
    ('<c1,CAM_BACK,1.5,2.0>', '<c1,cam_back,1.5,2.0>', True),
    ('yes', '', False),
    ('', '', True),
    ('', 'yes', False),
])
def test_what_counts_as_right(truth, prediction, right):
    assert is_right(answer(truth, prediction)) is right


def test_answers_of_nuscenes_qa_are_compared_as_they_are():
    assert [normalize_answer(text) for text in NUSCENES_QA] == NUSCENES_QA


def test_by_type_and_overall():
    answers = [answer('yes', 'Yes', 'exist'), answer('no', 'yes', 'exist'), answer('no', 'no.', 'exist'),
               answer('2', '2', 'count'), answer('3', '', 'count')]
    overall, types = exact_match(answers)
    assert overall == Accuracy(3, 5) and overall.fraction == 0.6  # of the questions; the mean of the types is 7/12
    assert list(types.items()) == [('count', Accuracy(1, 2)), ('exist', Accuracy(2, 3))]


def test_hops_apart_and_together():
    answers = [answer('yes', 'yes', 'exist_0'), answer('no', 'no', 'exist_0'), answer('no', 'yes', 'exist_1'),
               answer('2', '2', 'count')]
    overall, types = exact_match(answers)
    assert overall == Accuracy(3, 4)
    assert types == {'count': Accuracy(1, 1), 'exist': Accuracy(2, 3), 'exist_0': Accuracy(2, 2),
                     'exist_1': Accuracy(0, 1)}


def test_other_types_with_numbers_stay_apart():
    _, types = exact_match([answer('yes', 'yes', 'task_2'), answer('no', 'yes', 'task_3')])
    assert list(types) == ['task_2', 'task_3']


def test_one_answer():
    assert exact_match([answer('yes', 'no')]) == (Accuracy(0, 1), {'exist': Accuracy(0, 1)})


def test_no_answers():
    with pytest.raises(ValueError, match='expected at least one question'):
        exact_match([])
