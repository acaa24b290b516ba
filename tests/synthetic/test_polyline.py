import numpy as np
import pytest

from scene_qformer.synthetic.polyline import Polyline, join


def corner() -> Polyline:
    """3 m east, then 5 m north."""
    return Polyline(np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 5.0]]))


def test_arc_length_addresses_points():
    line = corner()
    assert line.length == 8.0
    np.testing.assert_allclose(line.at(np.array([0.0, 2.0, 3.0, 7.0])), [[0, 0], [2, 0], [3, 0], [3, 4]])
    np.testing.assert_allclose(line.at(-2.0), [-2, 0])  # straight on beyond the ends
    np.testing.assert_allclose(line.at(10.0), [3, 7])


def test_left_is_left():
    line = corner()
    np.testing.assert_allclose(line.beside(1.0, 0.7), [1.0, 0.7])
    np.testing.assert_allclose(line.beside(6.0, 0.7), [2.3, 3.0])
    np.testing.assert_allclose(line.reversed().beside(2.0, 0.7), [3.7, 3.0])


def test_heading_and_slice():
    line = corner()
    np.testing.assert_allclose(line.heading(np.array([1.0, 6.0])), [0.0, np.pi / 2])
    np.testing.assert_allclose(line.slice(1.0, 5.0).points, [[1, 0], [3, 0], [3, 2]])


def test_offset_of_a_circle_is_a_circle():
    angle = np.linspace(0.0, np.pi, 401)
    circle = Polyline(31.0 * np.stack([np.cos(angle), np.sin(angle)], axis=1))
    inner = circle.offset(7.0)  # it turns left, so left is inside
    np.testing.assert_allclose(np.hypot(*inner.points[5:-5].T), 24.0, atol=2e-3)


def test_resampled_keeps_the_ends():
    line = corner().resampled(1.3)
    assert np.diff(line.s).max() <= 1.3
    np.testing.assert_allclose(line.points[[0, -1]], [[0, 0], [3, 5]])


def test_join_merges_seams():
    line = corner()
    assert len(join([line.slice(0.0, 3.0), line.slice(3.0, 8.0)]).points) == 3


@pytest.mark.parametrize('points', [np.zeros((1, 2)), np.zeros((4, 3)), np.zeros(2)])
def test_wrong_points(points: np.ndarray):
    with pytest.raises(ValueError, match='K >= 2'):
        Polyline(points)
