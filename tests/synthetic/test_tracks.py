import numpy as np

from scene_qformer.synthetic.tracks import Track, box_corners, overlapping
from scene_qformer.synthetic.world import remove_overlaps


def boxes(*rows) -> np.ndarray:
    """Footprints of (x, y, width, length, yaw)."""
    data = np.array(rows, dtype=float)
    return box_corners(data[:, :2], data[:, 2:4], data[:, 4])


def track(x: list[float], y: float = 0.0) -> Track:
    n = len(x)
    centers = np.stack([np.array(x, dtype=float), np.full(n, y)], axis=1)
    return Track('car', (2.0, 4.0, 1.5), 1, centers, np.zeros(n), ['vehicle.moving'] * n, np.zeros(n))


def test_corners():
    np.testing.assert_allclose(boxes((3, 5, 2, 6, np.pi / 2))[0], [[2, 8], [4, 8], [4, 2], [2, 2]], atol=1e-12)


def test_overlap_of_turned_boxes():
    a = boxes((0, 0, 2, 2, 0), (0, 0, 2, 2, 0), (0, 0, 2, 2, 0), (0, 0, 2, 4, 0))
    # A diamond whose bounding box meets the square's corner, but which does not reach it; one that does; one
    # that only touches; one inside.
    b = boxes((1.9, 1.9, 2, 2, np.pi / 4), (1.6, 1.6, 2, 2, np.pi / 4), (2, 0, 2, 2, 0), (0, 0, 0.1, 0.1, 1.0))
    assert overlapping(a, b).tolist() == [False, True, False, True]
    assert overlapping(b, a).tolist() == [False, True, False, True]


def test_earlier_tracks_and_the_ego_vehicle_stay():
    ego, yaw = np.array([[0.0, 0.0], [5.0, 0.0]]), np.zeros(2)
    parked, passing = track([20.0, 20.0]), track([11.0, 17.5])  # meets the parked one in the second frame
    hit, absent = track([3.0, 8.0], y=0.5), track([np.nan, 30.0], y=0.0)
    kept = remove_overlaps([parked, passing, hit, absent], ego, yaw)
    assert kept == [parked, absent]


def test_a_dropped_track_drops_no_other():
    far = np.array([[100.0, 100.0]])
    first, second, third = track([0.0]), track([3.0]), track([6.0])  # the second overlaps both others
    assert remove_overlaps([first, second, third], far, np.zeros(1)) == [first, third]
