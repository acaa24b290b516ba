import numpy as np
import pytest

from scene_qformer.evaluation.answer_scores import AnswerScores
from scene_qformer.evaluation.answer_table import AnswerRow
from scene_qformer.evaluation.exact_match import Accuracy
from scene_qformer.visualization.answer_plot import draw_answers

BLIND, FIRST, SECOND = (0x49, 0x50, 0x57), (0xe8, 0x59, 0x0c), (0x19, 0x71, 0xc2)


def scores(right):
    return AnswerScores(Accuracy(right, 20), {'exist': Accuracy(10, 10), 'where': Accuracy(right - 10, 10)}, {})


ROWS = [AnswerRow('guess', 'guess', (scores(10),)), AnswerRow('blind', 'blind', (scores(11),)),
        AnswerRow('ours', 'model', (scores(16), scores(18))), AnswerRow('other', 'model', (scores(14),))]


def tallest(picture, color):
    """Height in pixels of the bars of a colour, from left to right; letters are less than 20 high."""
    drawn = (np.abs(picture[:-60].astype(int) - color) < 12).all(-1)  # without the legend
    columns = np.flatnonzero(drawn.sum(axis=0) > 20)
    return [drawn[:, group].sum(axis=0).max() for group in np.split(columns, np.flatnonzero(np.diff(columns) > 8) + 1)]


def test_bars_are_as_high_as_the_accuracies():
    picture = draw_answers(ROWS, title='title', size=(900, 500))
    assert picture.dtype == np.uint8 and picture.shape == (500, 900, 3)
    for color, (overall, exist, where) in ((BLIND, (0.55, 1, 0.1)), (SECOND, (0.7, 1, 0.4))):
        heights = tallest(picture, color)
        assert len(heights) == 3
        assert np.array(heights) / heights[1] == pytest.approx([overall, exist, where], abs=0.02)


def test_mean_of_runs_with_a_dot_each():
    heights = tallest(draw_answers(ROWS, size=(900, 500)), FIRST)
    assert heights[0] / heights[1] == pytest.approx(0.85, abs=0.03)
    single = draw_answers([*ROWS[:2], AnswerRow('ours', 'model', (scores(17),)), ROWS[3]], size=(900, 500))
    black = [(picture.max(axis=-1) < 40).sum() for picture in (draw_answers(ROWS, size=(900, 500)), single)]
    assert black[0] > black[1] + 30


def test_many_rows_have_no_numbers_that_overlap():
    assert draw_answers(ROWS * 6).shape == (430, 1300, 3)
