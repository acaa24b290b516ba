"""A random subset of a frame's questions."""
from collections import Counter

import pytest
from mmdet3d.registry import TRANSFORMS


def choose(num, count):
    transform = TRANSFORMS.build(dict(type='ChooseQuestions', num=num))
    return transform(dict(gt_text=[dict(id=str(number)) for number in range(count)], token='t'))['gt_text']


def test_a_subset_in_the_order_of_the_file():
    ids = [int(question['id']) for question in choose(5, 11)]
    assert len(set(ids)) == 5 and ids == sorted(ids)


@pytest.mark.parametrize('count', [0, 1, 5])
def test_few_questions_stay(count):
    assert [question['id'] for question in choose(5, count)] == [str(number) for number in range(count)]


def test_every_question_is_as_likely_as_every_other():
    """1400 draws of 3 out of 7: 600 each, give or take five standard deviations."""
    counts = Counter(question['id'] for _ in range(1400) for question in choose(3, 7))
    assert len(counts) == 7 and all(abs(number - 600) < 93 for number in counts.values())


def test_errors():
    with pytest.raises(ValueError, match='num of ChooseQuestions to be a whole number of at least 1, got 0'):
        TRANSFORMS.build(dict(type='ChooseQuestions', num=0))
    with pytest.raises(ValueError, match='ChooseQuestions found no gt_text in sample t: its dataset has no questions'):
        TRANSFORMS.build(dict(type='ChooseQuestions', num=3))(dict(token='t'))


def test_what_it_says_of_itself():
    assert repr(TRANSFORMS.build(dict(type='ChooseQuestions', num=3))) == 'ChooseQuestions(num=3)'
