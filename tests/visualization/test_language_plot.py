"""The picture of the table of answers."""
import numpy as np
import pytest

from scene_qformer.evaluation.answer_scores import AnswerScores
from scene_qformer.evaluation.answer_table import AnswerRow
from scene_qformer.evaluation.exact_match import Accuracy
from scene_qformer.evaluation.language_table import LanguageRun
from scene_qformer.visualization import language_plot
from scene_qformer.visualization.language_plot import draw_language


def scores(right):
    return AnswerScores(Accuracy(right, 100), {'count': Accuracy(right, 100)}, {})


def results(ours=((64, 40, 44), (128, 50, 55)), joint=(45, 47), blind=(31, 33)):
    rows = [AnswerRow('most frequent answer', 'guess', (scores(20), )),
            AnswerRow('blind (text only)', 'blind', tuple(map(scores, blind)))]
    runs = []
    for number, *rights in (*ours, *([(128, *joint)] if joint else [])):
        name = f'{number} tokens' if (number, *rights) in ours else 'end to end'
        rows.append(AnswerRow(name, 'model', tuple(map(scores, rights))))
        runs += [LanguageRun(name, number, seed, scores(right), None if name == 'end to end' else right / 400,
                             {}) for seed, right in enumerate(rights)]
    runs.append(LanguageRun('blind', 0, 0, scores(31), None, {}))
    return rows, runs, [f'{number} tokens' for number, *_ in ours]


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn."""
    drawn = []

    class Kept(language_plot.Figure):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            drawn.append(self)

    monkeypatch.setattr(language_plot, 'Figure', Kept)
    return drawn


def test_shows_every_number_at_its_tokens(figures):
    picture = draw_language(*results(), title='title')
    assert picture.dtype == np.uint8 and picture.shape == (480 + 430, 1300, 3)
    left, right = figures[0].axes
    lines = {line.get_label(): line for line in left.lines}
    np.testing.assert_allclose(lines['two stages'].get_xydata(), [(64, 42), (128, 52.5)])
    np.testing.assert_allclose(lines['end to end'].get_xydata(), [(128, 46)])
    np.testing.assert_allclose(lines['blind (text only)'].get_ydata(), [32, 32])
    np.testing.assert_allclose(lines['most frequent answer'].get_ydata(), [20, 20])
    dots = sorted(tuple(point) for line in left.lines if line.get_markersize() == 3.5 for point in line.get_xydata())
    np.testing.assert_allclose(dots, [(64, 40), (64, 44), (128, 45), (128, 47), (128, 50), (128, 55)])
    maps = {line.get_label(): line for line in right.lines}
    np.testing.assert_allclose(maps['two stages'].get_xydata(), [(64, 10.5), (128, 13.125)])
    assert 'end to end' not in maps  # finds no boxes


def test_the_blind_model_alone_can_be_drawn():
    assert draw_language(*results(ours=(), joint=())).shape == (910, 1300, 3)
