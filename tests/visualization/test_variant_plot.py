import numpy as np

from scene_qformer.evaluation.variant_table import VariantResult
from scene_qformer.visualization.variant_plot import draw_variants

BASE = VariantResult('', 'plain', '', 10, {0: dict(mAP=0.1, NDS=0.2), 1: dict(mAP=0.12, NDS=0.2)}, 50.0, (48., 55.))
GOOD = VariantResult('attention', 'A', '', 10, {0: dict(mAP=0.3, NDS=0.2), 1: dict(mAP=0.5, NDS=0.2)}, 90.0)
NONE = VariantResult('queries', 'B', '', 10)


def coloured(picture, rgb):
    """Columns with the colour, within a little."""
    return np.unique(np.nonzero((np.abs(picture.astype(int) - rgb) < 12).all(-1))[1])


def test_dots_of_each_axis_lie_where_its_scores_are():
    picture = draw_variants(BASE, [GOOD, NONE], title='title', width=900)
    assert picture.dtype == np.uint8 and picture.shape[1:] == (900, 3)
    orange = coloured(picture, (0xe8, 0x59, 0x0c))
    assert len(orange) and not len(coloured(picture, (0x19, 0x71, 0xc2)))  # the second axis has no score
    left = orange[orange < 530]
    dots = [group.mean() for group in np.split(left, np.nonzero(np.diff(left) > 10)[0] + 1)]
    assert len(dots) == 3  # 0.3, their mean, 0.5
    step = dots[1] - dots[0]
    assert abs(dots[2] - dots[1] - step) < 3
    base = coloured(picture[:60], (0x34, 0x3a, 0x40))
    assert np.abs(base - (dots[0] - 2 * step)).min() < 3  # 0.1


def test_height_grows_with_the_rows():
    few = draw_variants(BASE, [GOOD])
    many = draw_variants(BASE, [GOOD] * 5)
    assert many.shape[0] - few.shape[0] == 4 * 24
