"""The vector map of a road network: drivable area, paint and sidewalks as polylines and polygons."""
from __future__ import annotations

import numpy as np
from shapely.geometry import LineString, MultiLineString, Polygon
from shapely.ops import linemerge, unary_union

from .polyline import Polyline
from .road_network import Road, RoadNetwork
from .scene import VectorMap

KERB_RADIUS = 6.0  # where kerbs of two roads meet, metres
_TOLERANCE = 0.02  # of the simplified outlines, metres


def _road_polygon(road: Road) -> Polygon:
    left = road.line.offset(road.section.kerb(road.hand < 0))
    right = road.line.offset(-road.section.kerb(road.hand > 0))
    return Polygon(np.concatenate([left.points, right.points[::-1]]))


def _outline(polygon: Polygon) -> np.ndarray:
    return np.asarray(polygon.exterior.coords)[:-1]


def _thinned(line: Polyline) -> np.ndarray:
    return np.asarray(LineString(line.points).simplify(_TOLERANCE).coords)


def build_vector_map(network: RoadNetwork) -> VectorMap:
    """Draw the map of a network.

    Kerbs are rounded by the morphological closing of the roads' union. Where a road leaves the scene its end is
    drivable but no boundary. Edges of cycle strips count as dividers: they part lanes of one direction.
    """
    roads = unary_union([_road_polygon(road) for road in network.roads])
    drivable = roads.buffer(KERB_RADIUS).buffer(-KERB_RADIUS).simplify(_TOLERANCE)
    sidewalk = max(road.section.sidewalk for road in network.roads)
    paved = drivable.buffer(sidewalk).simplify(_TOLERANCE)

    ends = []
    for number, road in enumerate(network.roads):
        for s in ([0.0, road.line.length] if number == 0 else [road.line.length]):
            across = np.array([-1.0, 1.0]) * (road.section.half_width + 1.0)
            ends.append(LineString(road.line.beside(np.full(2, s), across)).buffer(0.2))
    edges = drivable.exterior.difference(unary_union(ends))
    if isinstance(edges, MultiLineString):
        edges = linemerge(edges)
    boundaries = [np.asarray(part.coords) for part in getattr(edges, 'geoms', [edges])]

    dividers, centre_dividers = [], []
    for segment in network.segments:
        road = network.roads[segment.road]
        section, line = road.section, road.line.slice(segment.start, segment.end)
        for along, count in ((True, section.lanes_along), (False, section.lanes_against)):
            edges_of_lanes = [road.lateral(i * section.lane_width, along) for i in range(1, count + 1)]
            dividers += [_thinned(line.offset(lateral)) for lateral in edges_of_lanes]
        if section.lanes_against:
            centre_dividers.append(_thinned(line))

    return VectorMap(
        drivable_areas=[_outline(drivable)],
        sidewalks=[_outline(paved)],
        boundaries=boundaries,
        dividers=dividers,
        centre_dividers=centre_dividers,
        crossings=[crossing.quad() for crossing in network.crossings],
        stop_lines=network.stop_lines)
