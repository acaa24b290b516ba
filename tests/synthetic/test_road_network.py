import numpy as np
import pytest
from shapely.geometry import LineString, Polygon

from scene_qformer.synthetic.road_builder import build_road_network
from scene_qformer.synthetic.road_layouts import LAYOUTS, draw_road_plan
from scene_qformer.synthetic.road_network import Crossing, CrossSection
from scene_qformer.synthetic.vector_map import build_vector_map


@pytest.fixture(scope='module', params=[(layout, hand) for layout in LAYOUTS for hand in (1, -1)],
                ids=lambda p: f'{p[0]}{p[1]:+d}')
def case(request):
    layout, hand = request.param
    plan = draw_road_plan(layout, 13.0, np.random.default_rng(11))
    network = build_road_network(plan, hand)
    return plan, hand, network, build_vector_map(network)


def test_unknown_layout():
    with pytest.raises(ValueError, match=r"'roundabout'.*'straight'"):
        draw_road_plan('roundabout', 13.0, np.random.default_rng(0))


def test_kerbs_of_a_cross_section():
    section = CrossSection(3, 2, 3.5, 1.25, 2.5, 0.0, 4.0)
    assert section.kerb(along=True) == 3 * 3.5 + 1.25 + 2.5
    assert section.kerb(along=False) == 2 * 3.5 + 1.25
    assert section.half_width == 14.25


def test_crossing_contains_its_quad():
    crossing = Crossing(np.array([3.0, 5.0]), np.pi / 2, 2.0, near=7.0, far=11.0)
    # The road runs north, so left is west; stripes (the first edge) run along it.
    np.testing.assert_allclose(crossing.quad(), [[10, 3], [10, 7], [-8, 7], [-8, 3]])
    inside = crossing.contains(np.array([[9.9, 6.9], [10.1, 5.0], [0.0, 7.1], [-7.9, 3.1]]))
    assert inside.tolist() == [True, False, False, True]


def test_traffic_keeps_to_its_hand(case):
    plan, hand, network, _ = case
    main = plan.main_line
    for lane in network.lanes:
        if lane.segment == 0:
            middle = lane.line.at(lane.line.length / 2)
            s, _ = main.project(middle[None])
            normal = main.beside(s, np.ones(1))[0] - main.at(s)[0]
            lateral = float((middle - main.at(s)[0]) @ normal)
            along = np.cos(lane.line.heading(lane.line.length / 2) - main.heading(s[0])) > 0
            assert (lateral < 0) == (along == (hand > 0))
            assert abs(lateral) == pytest.approx((lane.from_centre + 0.5) * lane.width, abs=0.3)


def test_lanes_form_a_graph_without_gaps(case):
    _, _, network, _ = case
    leads_on = 0
    for lane in network.lanes:
        for successor in lane.successors:
            after = network.lanes[successor]
            np.testing.assert_allclose(lane.line.points[-1], after.line.points[0], atol=1e-9)
            turn = lane.line.heading(lane.line.length, 0.2) - after.line.heading(0.0, 0.2)
            assert abs((turn + np.pi) % (2 * np.pi) - np.pi) < 0.25
            leads_on += 1
        if lane.turn:
            assert len(lane.successors) == 1
            assert lane.junction is not None
        elif lane.junction is not None and network.segments[lane.segment].road == 0:
            assert lane.successors, 'the main road leads on at every junction'
    if any(segment.junction_at_end is not None for segment in network.segments):
        assert leads_on


def test_conflicts_are_mutual_and_cross(case):
    _, _, network, _ = case
    for lane in network.lanes:
        for other, clear_after in lane.conflicts.items():
            assert lane.index in network.lanes[other].conflicts
            assert 0.0 <= clear_after <= lane.line.length + 1e-9
            lines = LineString(lane.line.points), LineString(network.lanes[other].line.points)
            assert lines[0].distance(lines[1]) < 3.0


def test_map_covers_the_lanes(case):
    plan, _, network, vector_map = case
    drivable = Polygon(vector_map.drivable_areas[0])
    assert drivable.is_valid
    for lane in network.lanes:
        assert drivable.buffer(0.05).contains(LineString(lane.line.points).buffer(0.9, cap_style='flat')), lane
    assert Polygon(vector_map.sidewalks[0]).contains(drivable)
    for quad in vector_map.crossings:
        assert drivable.buffer(0.3).contains(Polygon(quad))


def test_boundaries_bound_the_drivable_area(case):
    plan, _, network, vector_map = case
    outline = Polygon(vector_map.drivable_areas[0]).exterior
    for line in vector_map.boundaries:
        assert outline.buffer(1e-6).contains(LineString(line))
    # Road ends are no boundary: what is missing is about their widths.
    missing = outline.length - sum(LineString(line).length for line in vector_map.boundaries)
    widths = [(2 if number == 0 else 1) * (road.section.kerb(True) + road.section.kerb(False))
              for number, road in enumerate(network.roads)]
    assert missing == pytest.approx(sum(widths), rel=0.05, abs=1.0)


def test_dividers_part_lanes(case):
    plan, _, network, vector_map = case
    section = plan.main_section
    main_segments = sum(segment.road == 0 for segment in network.segments)
    two_way = sum(network.roads[segment.road].section.lanes_against > 0 for segment in network.segments)
    side_segments = len(network.segments) - main_segments
    assert len(vector_map.centre_dividers) == two_way
    assert len(vector_map.dividers) == main_segments * (section.lanes_along + section.lanes_against) + 2 * side_segments
    for lane in network.lanes:
        if not lane.turn:
            for line in vector_map.dividers + vector_map.centre_dividers:
                assert LineString(line).distance(LineString(lane.line.points)) > 1.6


def test_translation_moves_everything(case):
    _, _, network, vector_map = case
    moved = build_vector_map(network.translated(np.array([13.0, -7.0])))
    for name in ('drivable_areas', 'boundaries', 'centre_dividers', 'crossings', 'stop_lines'):
        for before, after in zip(getattr(vector_map, name), getattr(moved, name)):
            if before.shape == after.shape:
                np.testing.assert_allclose(after, before + [13.0, -7.0], atol=0.05)
    assert len(moved.crossings) == len(vector_map.crossings)
