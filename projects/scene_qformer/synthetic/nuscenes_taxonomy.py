"""The fixed tables of nuScenes: categories, attributes, visibility levels and the sensors that this set has."""
from __future__ import annotations

CATEGORIES = {
    'human.pedestrian.adult': 'Adult subcategory.',
    'human.pedestrian.child': 'Child subcategory.',
    'human.pedestrian.wheelchair': 'Wheelchairs. If a person is in the wheelchair, include in the annotation.',
    'human.pedestrian.stroller': 'Strollers. If a person is in the stroller, include in the annotation.',
    'human.pedestrian.personal_mobility': 'A small electric or self-propelled vehicle, e.g. skateboard, segway, or '
                                          'scooters, on which the person typically travels in an upright position.',
    'human.pedestrian.police_officer': 'Police officer.',
    'human.pedestrian.construction_worker': 'Construction worker.',
    'animal': 'All animals, e.g. cats, rats, dogs, deer, birds.',
    'vehicle.car': 'Vehicle designed primarily for personal use, e.g. sedans, wagons, vans, SUVs and jeeps.',
    'vehicle.motorcycle': 'Gasoline or electric powered 2-wheeled vehicle designed to move rapidly on the road.',
    'vehicle.bicycle': 'Human or electric powered 2-wheeled vehicle designed to travel at lower speeds.',
    'vehicle.bus.bendy': 'Bendy bus subcategory. Annotate each section of the bendy bus individually.',
    'vehicle.bus.rigid': 'Rigid bus subcategory.',
    'vehicle.truck': 'Vehicles primarily designed to haul cargo including pick-ups, lorries, trucks and semi-tractors.',
    'vehicle.construction': 'Vehicles primarily designed for construction. Typically very slow moving or stationary.',
    'vehicle.emergency.ambulance': 'All types of ambulances.',
    'vehicle.emergency.police': 'All types of police vehicles including police bicycles and motorcycles.',
    'vehicle.trailer': 'Any vehicle trailer, both for trucks, cars and bikes.',
    'movable_object.barrier': 'Temporary road barrier placed in the scene in order to redirect traffic.',
    'movable_object.trafficcone': 'All types of traffic cone.',
    'movable_object.pushable_pullable': 'Objects that a pedestrian may push or pull, e.g. dollies, bins.',
    'movable_object.debris': 'Movable object that is left on the driveable surface and too large to be driven over.',
    'static_object.bicycle_rack': 'Area or device intended to park or secure the bicycles in a row.',
}

ATTRIBUTES = {
    'vehicle.moving': 'Vehicle is moving.',
    'vehicle.stopped': 'Vehicle, with a driver/rider in/on it, is currently stationary but has an intent to move.',
    'vehicle.parked': 'Vehicle is stationary (usually for longer duration) with no immediate intent to move.',
    'cycle.with_rider': 'There is a rider on the bicycle or motorcycle.',
    'cycle.without_rider': 'There is NO rider on the bicycle or motorcycle.',
    'pedestrian.sitting_lying_down': 'The human is sitting or lying down.',
    'pedestrian.standing': 'The human is standing.',
    'pedestrian.moving': 'The human is moving.',
}

# Token, level and bounds of the visible share of an object's pixels over all six cameras.
VISIBILITY_LEVELS = (('1', 'v0-40', 0, 40), ('2', 'v40-60', 40, 60), ('3', 'v60-80', 60, 80), ('4', 'v80-100', 80, 100))

SENSORS = {
    'CAM_FRONT': 'camera',
    'CAM_FRONT_RIGHT': 'camera',
    'CAM_FRONT_LEFT': 'camera',
    'CAM_BACK': 'camera',
    'CAM_BACK_LEFT': 'camera',
    'CAM_BACK_RIGHT': 'camera',
    'LIDAR_TOP': 'lidar',
}


def visibility_token(visible_pixels: int, amodal_pixels: int) -> str:
    """The level of an object of which ``visible_pixels`` of ``amodal_pixels`` are seen; '1' if no camera faces it."""
    share = 100.0 * visible_pixels / amodal_pixels if amodal_pixels else 0.0
    return next(token for token, _, _, upper in VISIBILITY_LEVELS if share <= upper or upper == 100)
