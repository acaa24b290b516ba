"""Which shape stands for which nuScenes category, and which for which kind of scenery."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import heavy_vehicle_shapes, machine_shapes, people_shapes, roadside_shapes, scenery_shapes, vehicle_shapes
from .meshes import Mesh, fit_to_box

Size = tuple[float, float, float]  # width, length, height in metres, the devkit's order
ObjectShape = Callable[[np.random.Generator, Size, str, float], Mesh]
PropShape = Callable[[np.random.Generator, Size], Mesh]

POSES = 8  # a gait is drawn in this many steps

OBJECT_SHAPES: dict[str, ObjectShape] = {
    'vehicle.car': vehicle_shapes.car,
    'vehicle.emergency.police': vehicle_shapes.emergency,
    'vehicle.emergency.ambulance': vehicle_shapes.emergency,
    'vehicle.truck': heavy_vehicle_shapes.truck,
    'vehicle.bus.rigid': heavy_vehicle_shapes.bus,
    'vehicle.bus.bendy': heavy_vehicle_shapes.bus,
    'vehicle.trailer': heavy_vehicle_shapes.trailer,
    'vehicle.construction': machine_shapes.construction_vehicle,
    'vehicle.bicycle': people_shapes.bicycle,
    'vehicle.motorcycle': people_shapes.motorcycle,
    'human.pedestrian.adult': people_shapes.pedestrian,
    'human.pedestrian.child': people_shapes.pedestrian,
    'human.pedestrian.construction_worker': people_shapes.construction_worker,
    'human.pedestrian.police_officer': people_shapes.police_officer,
    'human.pedestrian.personal_mobility': people_shapes.rolling_person,
    'human.pedestrian.stroller': people_shapes.rolling_person,
    'human.pedestrian.wheelchair': people_shapes.rolling_person,
    'movable_object.trafficcone': roadside_shapes.traffic_cone,
    'movable_object.barrier': roadside_shapes.barrier,
    'movable_object.debris': roadside_shapes.clutter,
    'movable_object.pushable_pullable': roadside_shapes.clutter,
    'static_object.bicycle_rack': roadside_shapes.bicycle_rack,
    'animal': people_shapes.animal,
}

PROP_SHAPES: dict[str, PropShape] = {
    'building': scenery_shapes.building,
    'tree': scenery_shapes.tree,
    'pole': scenery_shapes.pole,
    'wall': scenery_shapes.wall,
}


def object_mesh(category: str, attribute: str, size: Size, seed: int, phase: float = 0.0) -> Mesh:
    """The mesh of an annotated object; it touches all six sides of its box and leaves none.

    Args:
        category: Full nuScenes category.
        attribute: nuScenes attribute, or ''. It decides whether people walk and whether cycles are ridden.
        size: Width, length, height of the box in metres.
        seed: Colours and variant.
        phase: Gait, radians.

    Raises:
        KeyError: If no shape is known for the category.
    """
    if category not in OBJECT_SHAPES:
        raise KeyError(f'no shape for category {category!r}; known are {sorted(OBJECT_SHAPES)}. '
                       'Add one to OBJECT_SHAPES in synthetic/shapes.py.')
    mesh = OBJECT_SHAPES[category](np.random.default_rng(seed), size, attribute, phase)
    return fit_to_box(mesh, size[1], size[0], size[2])


def prop_mesh(kind: str, size: Size, seed: int) -> Mesh:
    """The mesh of a piece of scenery, likewise.

    Raises:
        KeyError: If no shape is known for the kind.
    """
    if kind not in PROP_SHAPES:
        raise KeyError(f'no shape for scenery of kind {kind!r}; known are {sorted(PROP_SHAPES)}. '
                       'Add one to PROP_SHAPES in synthetic/shapes.py.')
    return fit_to_box(PROP_SHAPES[kind](np.random.default_rng(seed), size), size[1], size[0], size[2])
