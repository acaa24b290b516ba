import numpy as np
import pytest

from scene_qformer.evaluation.gradients import GradientNorm
from scene_qformer.visualization import draw_gradient_norms

BLUE, ORANGE = (25, 113, 194), (232, 89, 12)


def norm(name, grad_norm, **flags):
    return GradientNorm(name, 7, 1., grad_norm, flags)


def colored(picture, color):
    return np.abs(picture.astype(int) - color).max(axis=-1) < 30


def test_longer_bars_for_stronger_gradients():
    picture = draw_gradient_norms([norm('a', 1e-3), norm('b', 1e-1), norm('c', 0., none=1)], 'title')
    assert picture.dtype == np.uint8 and picture.shape[1:] == (1000, 3)
    lengths = colored(picture, BLUE).sum(axis=1)
    rows = np.flatnonzero(lengths)
    upper, lower = lengths[rows[0] + 5], lengths[rows[-1] - 5]
    assert 0 < upper < lower
    # the axis is logarithmic, from a third of the least: log(3) to log(300)
    assert lower / upper == pytest.approx(np.log(300) / np.log(3), rel=0.1)


def test_flags_are_written_in_another_color():
    plain = draw_gradient_norms([norm('a', 1.), norm('b', 1.)])
    flagged = draw_gradient_norms([norm('a', 1.), norm('b', 1., zero=2)])
    assert colored(flagged, ORANGE).sum() > 1000 > colored(plain, ORANGE).sum()


@pytest.mark.parametrize('value', [0., float('inf'), float('nan')])
def test_nothing_to_measure_is_drawn_all_the_same(value):
    assert draw_gradient_norms([GradientNorm('a', 7, 0., value, {})]).shape[2] == 3


def test_no_parameters():
    with pytest.raises(ValueError, match='the model has no parameters'):
        draw_gradient_norms([])
