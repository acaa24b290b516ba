"""Scenery that is drawn and hides things but is not annotated: buildings, walls, trees and poles beside the streets."""
from __future__ import annotations

import numpy as np
import shapely
from shapely.geometry import Point, Polygon

from .road_network import Kerbside, RoadNetwork
from .scene import Prop, VectorMap
from .tracks import box_corners, draw_seed


def build_scenery(network: RoadNetwork, vector_map: VectorMap, rng: np.random.Generator) -> list[Prop]:
    """Line the streets.

    Trees and poles stand on the sidewalk near the kerb, buildings and walls behind it; none of them on drivable area,
    and no building on a sidewalk.
    """
    paved = Polygon(vector_map.sidewalks[0])
    drivable = Polygon(vector_map.drivable_areas[0])
    shapely.prepare([paved, drivable])
    props: list[Prop] = []
    built: list[Polygon] = []
    greenness, height = rng.uniform(0.2, 0.8), rng.uniform(6.0, 22.0)
    for side in network.kerbsides:
        if side.line.length < 12.0:
            continue
        props += _behind_sidewalk(side, paved, built, greenness, height, rng)
        s = rng.uniform(2.0, 12.0)
        while s < side.line.length - 2.0:
            kind = 'tree' if rng.random() < greenness else 'pole'
            width = rng.uniform(2.2, 4.0) if kind == 'tree' else 0.25
            tall = rng.uniform(4.5, 8.0)
            size = (width, width, tall)
            center = side.line.beside(s, side.outward * 1.0)
            if not drivable.intersects(Point(center).buffer(0.4, quad_segs=2)):
                props.append(Prop(kind, np.array([*center, size[2] / 2]), size, rng.uniform(-np.pi, np.pi),
                                  draw_seed(rng)))
            s += rng.uniform(11.0, 26.0)
    return props


def _behind_sidewalk(side: Kerbside, paved: Polygon, built: list[Polygon], greenness: float, height: float,
                     rng: np.random.Generator) -> list[Prop]:
    props = []
    s = rng.uniform(0.0, 6.0)
    while s < side.line.length:
        front = rng.uniform(8.0, 24.0)
        draw = rng.random()
        if draw < 0.12:
            kind, depth, tall = 'wall', 0.4, rng.uniform(1.0, 2.6)
        elif draw < 0.12 + 0.35 * greenness:
            kind, front = 'tree', rng.uniform(3.0, 5.5)
            depth, tall = front, rng.uniform(5.0, 10.0)
        else:
            kind, depth, tall = 'building', rng.uniform(8.0, 14.0), height * rng.uniform(0.6, 1.4)
        middle = s + front / 2
        away = side.sidewalk + 1.0 + rng.uniform(0.0, 2.5) + depth / 2
        center = side.line.beside(middle, side.outward * away)
        yaw = float(side.line.heading(middle, front / 2))
        foot = Polygon(box_corners(center, np.array([depth, front]), np.array(yaw)))
        if not paved.intersects(foot) and not any(shapely.intersects(built, foot)):
            built.append(foot)
            props.append(Prop(kind, np.array([*center, tall / 2]), (depth, front, tall), yaw, draw_seed(rng)))
        s += front + (rng.uniform(0.5, 3.0) if rng.random() < 0.75 else rng.uniform(4.0, 12.0))
    return props
