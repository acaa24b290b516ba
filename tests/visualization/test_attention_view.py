"""Heat and marks at pixels that are worked out by hand."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from mmdet3d.structures import LiDARInstance3DBoxes
from mmengine.structures import InstanceData

from scene_qformer.visualization import Frame, QueryLook, attention_density, draw_attention, lay_heat

LAYOUT = (('LEFT', 'RIGHT'), )
# looks along the LiDAR's y; focal length 100 px, principal point (100, 60): pixel (100 + 100 x / y, 60 - 100 z / y)
LIDAR2IMG = np.array([[100., 100, 0, 0], [0, 60, -100, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
# the network sees the lower 80 of 120 rows in half the size, 100x40 pixels
TO_NETWORK = np.array([[0.5, 0, 0], [0, 0.5, -20], [0, 0, 1]])
CYAN = (64, 224, 255)


def look_at(maps: dict, points: dict | None = None) -> QueryLook:
    return QueryLook(maps, points or {}, dict.fromkeys(maps, TO_NETWORK), (100, 40))


def maps_of_two_levels() -> dict:
    """4x10 and 2x5 cells, of 10 and 20 pixels of the network's image."""
    return {name: [np.zeros((4, 10)), np.zeros((2, 5))] for name in ('LEFT', 'RIGHT')}


def frame() -> Frame:
    images = {name: np.full((120, 200, 3), 90, np.uint8) for name in ('LEFT', 'RIGHT')}
    box = LiDARInstance3DBoxes(torch.tensor([[10., 20, 0, 6, 6, 2, 0, 0, 0]]), box_dim=9)
    truth = InstanceData(bboxes_3d=box, labels_3d=torch.tensor([0]))
    return Frame('token', images, dict.fromkeys(images, LIDAR2IMG), None, truth)


def closeness(picture: np.ndarray, x: float, y: float, color=CYAN) -> int:
    """Distance of the nearest colour within a pixel of this one."""
    x, y = int(x), int(y)
    return int(np.abs(picture[y - 1:y + 2, x - 1:x + 2].astype(int) - color).sum(-1).min())


def test_even_attention_has_density_one_where_the_network_saw():
    maps = {name: [np.full((4, 10), 0.5 / 80), np.full((2, 5), 0.5 / 20)] for name in ('LEFT', 'RIGHT')}
    density = attention_density(look_at(maps), 'LEFT', 200, (200, 120))
    assert density.shape == (120, 200)
    np.testing.assert_allclose(density[40:], 1, atol=1e-5)
    assert (density[:40] == 0).all()


def test_attention_in_one_cell_lies_at_its_pixels():
    maps = maps_of_two_levels()
    maps['RIGHT'][0][1, 7] = 0.4  # centre at (75, 15) of the network's image, (150, 70) of the recorded one
    maps['RIGHT'][1][1, 0] = 0.6  # centre at (10, 30), (20, 100)
    look = look_at(maps)
    assert look.share('RIGHT') == pytest.approx(1) and look.share('LEFT') == 0
    density = attention_density(look, 'RIGHT', 200, (100, 60))  # in half the size
    # the nearest pixels are centred 1/20 and 1/40 of a cell off in both directions; OpenCV rounds that to 1/32
    assert density[35, 75] == pytest.approx(0.4 * 80 * 0.95**2, rel=0.04)
    assert density[50, 10] == pytest.approx(0.6 * 20 * 0.975**2, rel=0.04)
    assert density[35, 75 - 11] == 0 and density[35, 75 - 9] > 0  # nothing is left one cell further
    assert (attention_density(look, 'LEFT', 200, (100, 60)) == 0).all()


def test_no_heat_greys_and_much_heat_glows():
    image = np.full((5, 7, 3), (200, 100, 0), np.uint8)
    heat = np.zeros((5, 7))
    heat[2, 3] = 1
    picture = lay_heat(image, heat).astype(int)
    assert np.ptp(picture[0, 0]) < 15 and picture[0, 0].max() < 120
    assert picture[2, 3, 0] > 200 > picture[2, 3, 2] + 50
    assert (image == (200, 100, 0)).all()  # the input stays


def test_picture():
    maps = maps_of_two_levels()
    maps['LEFT'][0][1, 7] = 1.
    # the network's pixel (60, 10) is the recorded (120, 60); panels are drawn in twice the size
    look = look_at(maps, dict(LEFT=np.array([60., 10.])))
    box = LiDARInstance3DBoxes(torch.tensor([[0., 10, -3, 2, 8, 6, np.pi / 2, 0, 0]]), box_dim=9)
    points = np.array([[0., -20, 0], [20, 10, 0]])
    picture = draw_attention(frame(), look, points, 1, InstanceData(bboxes_3d=box), 'title', panel_width=400, extent=40,
                             layout=LAYOUT)
    # panels of 400 x 240 and a gap of 6; the bird's-eye view is square; two strips of 38
    assert picture.shape == (240 + 76, 2 * 400 + 6 + 6 + 240, 3) and picture.dtype == np.uint8
    left, right, above = picture[38:-38, :400], picture[38:-38, 406:806], picture[38:-38, 812:]
    assert left[140, 300, 0] > 200 and right[140, 300, 0] < 120  # the heat
    assert closeness(left, 240, 120) < 60 < closeness(right, 240, 120)  # the point
    for panel in (left, right):  # the near face's lower edge: x in [-4, 4], y = 9, z = -3
        assert closeness(panel, 2 * 100, 2 * (60 + 300 / 9)) < 200
    # 240 px for 80 m
    assert closeness(above, 120 + 60, 120 - 30) < 60  # the query's point
    assert closeness(above, 120, 120 + 60) > 200 > closeness(above, 120, 120 + 60, (104, 124, 164))  # another's
    assert closeness(above, 120 + 12, 120 - 30) < 200  # its box from above: x in [-4, 4]; thin lines are blended
    assert closeness(above, 120 + 30 - 9, 120 - 60, (255, 255, 255)) < 120  # the true box: x in [7, 13]


def test_a_query_that_attends_nothing_has_no_heat():
    picture = draw_attention(frame(), look_at(maps_of_two_levels()), np.zeros((1, 3)), 0, panel_width=200,
                             layout=LAYOUT)
    assert np.ptp(picture[38 + 60:38 + 110, 20:180], axis=2).max() < 15


def test_camera_without_attention_is_named():
    maps = maps_of_two_levels()
    del maps['RIGHT']
    with pytest.raises(KeyError, match='image and attention of RIGHT; .* attention of LEFT'):
        draw_attention(frame(), look_at(maps), np.zeros((1, 3)), 0, layout=LAYOUT)
