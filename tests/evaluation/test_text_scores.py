"""BLEU, ROUGE-L and CIDEr: against numbers worked out by hand, and against the library called directly."""
import math
import random
import sys

import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from scene_qformer.evaluation.text_scores import TEXT_SCORES, text_scores, tokenize


@pytest.mark.parametrize(('text', 'words'), [
    ('A Red  car,\nparked.', ['a', 'red', 'car', 'parked']),
    ("It doesn't: the car's left-turn (3.5 m) isn't safe!",
     ['it', 'does', "n't", 'the', 'car', "'s", 'left-turn', '(', '3.5', 'm', ')', 'is', "n't", 'safe']),
    ('See <c1,CAM_BACK,1088.3,497.5>\u2019s.', ['see', '<', 'c1', 'cam_back', ',1088.3,497.5', '>', "'s"]),
    ('1,200 cars -- 50% at -2, "20m" or 10-20 km/h.',
     ['1,200', 'cars', '50', '%', 'at', '-2', '20m', 'or', '10-20', 'km/h']),
    ('...', []),
    ('', []),
])
def test_words(text, words):
    """As Stanford's PTBTokenizer splits them, less the punctuation that COCO's challenge drops."""
    assert tokenize(text) == words


def test_bleu_by_hand():
    scores = text_scores(['A red car is parked.'], ['a red car is moving'])
    # right of 1-, 2-, 3- and 4-grams: 4 of 5, 3 of 4, 2 of 3, 1 of 2
    assert scores['Bleu_1'] == pytest.approx(4 / 5)
    assert scores['Bleu_2'] == pytest.approx((3 / 5)**(1 / 2))
    assert scores['Bleu_3'] == pytest.approx((2 / 5)**(1 / 3))
    assert scores['Bleu_4'] == pytest.approx((1 / 5)**(1 / 4))
    short = text_scores(['a red car is parked'], ['a red car'])
    assert short['Bleu_1'] == pytest.approx(math.exp(1 - 5 / 3))  # all right, but too short
    assert short['Bleu_4'] < 0.032


def test_bleu_is_of_the_corpus():
    """Not the mean over its sentences, which here is (1 + 1/4) / 2."""
    scores = text_scores(['car', 'two cars are parked'], ['car', 'two trucks on bridges'])
    assert scores['Bleu_1'] == pytest.approx(2 / 5)


def test_rouge_by_hand():
    scores = text_scores(['a red car is parked', 'yes'], ['a car is parked', 'no'])
    precision, recall = 4 / 4, 4 / 5  # of the longest common subsequence, a car is parked
    expected = (1 + 1.2**2) * precision * recall / (recall + 1.2**2 * precision)
    assert scores['ROUGE_L'] == pytest.approx(expected / 2)


def test_cider_of_one_word_answers_by_hand():
    """Both words are in one of two answers: idf log 2. The right one has cosine 1 for n = 1, and 0 for n = 2, 3, 4."""
    assert text_scores(['car', 'bus'], ['car', 'car'])['CIDEr'] == pytest.approx(10 * (1 / 4 + 0) / 2)
    assert text_scores(['car', 'bus'], ['car', 'bus'])['CIDEr'] == pytest.approx(2.5)


def test_cider_by_hand():
    scores = text_scores(['red car', 'blue car'], ['red car now', 'blue car'])
    # `car` is in every answer: idf 0. First: one right and one wrong word of weight log 2, cosine 1 / sqrt 2; likewise
    # for n = 2; one bigram too many, penalty exp(-1 / (2 * 6**2)). Second: cosine 1 for n = 1 and n = 2.
    first = 10 / 4 * (2 / math.sqrt(2)) * math.exp(-1 / 72)
    assert scores['CIDEr'] == pytest.approx((first + 5) / 2)


def test_cider_of_one_question_is_zero():
    """All idf are log 1: the reason why CIDEr is never to be taken from single frames."""
    assert text_scores(['a red car is parked'], ['a red car is parked']) == pytest.approx(
        {'Bleu_1': 1, 'Bleu_2': 1, 'Bleu_3': 1, 'Bleu_4': 1, 'ROUGE_L': 1, 'CIDEr': 0})


def test_same_as_the_library():
    words = ['a', 'red', 'blue', 'car', 'bus', 'is', 'parked', 'behind', 'the', 'ego']
    answers, predictions = ([' '.join(random.choices(words, k=random.randint(1, 11))) for _ in range(37)]
                            for _ in range(2))
    references, candidates = ({index: [text] for index, text in enumerate(texts)} for texts in (answers, predictions))
    bleu, _ = Bleu(4).compute_score(references, candidates, verbose=0)
    rouge, _ = Rouge().compute_score(references, candidates)
    cider, _ = Cider().compute_score(references, candidates)
    scores = text_scores(answers, predictions)
    assert list(scores) == list(TEXT_SCORES)
    assert list(scores.values()) == [*bleu, rouge, cider]
    assert 0 < scores['CIDEr'] < 10 and all(type(value) is float for value in scores.values())


def test_empty_prediction():
    scores = text_scores(['a red car', 'no'], ['', 'no'])
    assert scores['ROUGE_L'] == pytest.approx(1 / 2)
    assert scores['Bleu_1'] == pytest.approx(math.exp(1 - 4 / 1))  # one word instead of four
    assert scores['CIDEr'] == pytest.approx(2.5 / 2)


@pytest.mark.parametrize('prediction', ['', 'car'])
def test_empty_answers_alone(prediction):
    scores = text_scores(['', '...'], [prediction, prediction])
    assert scores['CIDEr'] == 0 and all(math.isfinite(value) for value in scores.values())


@pytest.mark.parametrize('predictions', [[], ['a', 'b']])
def test_other_numbers(predictions):
    with pytest.raises(ValueError, match=f'got {len(predictions)} predictions, 1 answers'):
        text_scores(['a'], predictions)
    with pytest.raises(ValueError, match='at least one'):
        text_scores([], [])


def test_without_the_library(monkeypatch):
    for name in list(sys.modules):
        if name.split('.')[0] == 'pycocoevalcap':
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'pycocoevalcap', None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install pycocoevalcap==1\.2.*free_text=False'):
        text_scores(['a'], ['a'])
