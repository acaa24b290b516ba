import numpy as np

from scene_qformer.visualization.answer_view import Exchange, break_lines, draw_answers_beneath
from scene_qformer.visualization.text import text_size

SURROUND = ('CAM_FRONT', 'CAM_FRONT_RIGHT', 'CAM_FRONT_LEFT', 'CAM_BACK', 'CAM_BACK_LEFT', 'CAM_BACK_RIGHT')
GREEN, RED, BLUE = (105, 219, 124), (255, 135, 108), (116, 192, 252)


def images(names):
    """Each of one grey level, 160x90."""
    return {name: np.full((90, 160, 3), 40 + 20 * number, np.uint8) for number, name in enumerate(names)}


def draw(names, exchanges):
    return draw_answers_beneath(images(names), exchanges, panel_width=160)


def count(picture, color):
    return (picture == color).all(-1).sum()


def test_cameras_stand_as_they_lie_around_the_vehicle():
    picture = draw(SURROUND, [])
    assert picture.shape == (38 + 2 * 90 + 6, 3 * 160 + 2 * 6, 3)
    middles = [[picture[38 + 45 + row * 96, 80 + column * 166, 0] for column in range(3)] for row in range(2)]
    assert middles == [[80, 40, 60], [120, 100, 140]]  # front left, front, front right; back left, back, back right


def test_few_and_foreign_cameras():
    assert draw(('CAM_BACK', 'CAM_FRONT'), []).shape == (38 + 2 * 90 + 6, 160, 3)
    assert draw(('CAM_FRONT', 'a', 'b', 'c', 'd'), []).shape == (38 + 3 * 90 + 2 * 6, 3 * 160 + 2 * 6, 3)


def test_right_wrong_and_unknown_answers_have_their_colors():
    for exchange, color in ((Exchange('How many?', 'three', '3', right=False), RED),
                            (Exchange('How many?', 'three', 'three', right=True), GREEN),
                            (Exchange('How many?', 'three'), BLUE)):
        picture = draw(SURROUND, [exchange])
        assert picture.shape[0] == 38 + 186 + 6 + 2 * 14 + 2 * 30
        assert [count(picture, other) > 20 for other in (GREEN, RED, BLUE)] == [
            color == other for other in (GREEN, RED, BLUE)]
    wrong, right = (draw(SURROUND, [Exchange('?', 'three', 'four', right=right)]) for right in (False, True))
    assert count(wrong, RED) > 1.5 * count(right, GREEN)  # the true answer stands beside the wrong one


def test_long_answers_are_broken():
    text = 'the car ahead waits at the crossing'
    width = text_size('the car ahead', 20, bold=True)[0]
    lines = break_lines(text, 20, width)
    assert ' '.join(lines) == text and lines[0] == 'the car ahead'
    assert all(text_size(line, 20, bold=True)[0] <= width for line in lines)
    assert break_lines('unbreakable', 20, 5) == ['unbreakable'] and break_lines('a\nb', 20, 99) == ['a', 'b']
    short, long = (draw(SURROUND, [Exchange('?', answer)]).shape[0] for answer in ('yes', 30 * 'yes '))
    assert long - short == 30 * (len(break_lines(f'A:  {30 * "yes "}', 20, 492 - 28)) - 1)
