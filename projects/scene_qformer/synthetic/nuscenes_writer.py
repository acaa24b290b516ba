"""Writes the files of a nuScenes root: images, lidar sweeps, map masks, vector maps and tables."""
from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from .lidar import cast_lidar
from .nuscenes_tables import FrameMeasurement, Rows, mask_filename, sensor_filename
from .nuscenes_taxonomy import SENSORS
from .renderer import SceneRenderer
from .scene import VectorMap, World

JPEG_QUALITY = 88
MASK_RESOLUTION = 0.1  # metres a pixel: what the devkit's NuScenes() takes by default
_VECTOR_FIELDS = ('drivable_areas', 'sidewalks', 'boundaries', 'dividers', 'centre_dividers', 'crossings', 'stop_lines')


def write_frame(root: Path, renderer: SceneRenderer, world: World, frame: int) -> FrameMeasurement:
    """Record one key frame with all sensors.

    Args:
        root (Path): The data set's root, whose ``samples/<channel>`` folders exist.
        renderer (SceneRenderer): Of the same world.
        world (World): The scene.
        frame (int): Which of its key frames.

    Returns:
        FrameMeasurement: What the sensors saw of each object.
    """

    def generator(sensor: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence([world.seed, frame, sensor]))

    visible: Counter[int] = Counter()
    amodal: Counter[int] = Counter()
    for number, camera in enumerate(world.rig.cameras):
        view = renderer.render(world.frames[frame], camera, generator(number), with_instance_ids=False)
        encoded, data = cv2.imencode('.jpg', view.image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if not encoded:
            raise RuntimeError(f'OpenCV could not encode an image of shape {view.image.shape} as JPEG.')
        (root / sensor_filename(world, camera.name, frame)).write_bytes(data.tobytes())
        visible.update(view.visible_pixels)
        amodal.update(view.amodal_pixels)
    sweep = cast_lidar(world, world.frames[frame], generator(len(world.rig.cameras)), renderer.poser)
    sweep.points.astype(np.float32).tofile(root / sensor_filename(world, 'LIDAR_TOP', frame))
    instances, counts = np.unique(sweep.instance_ids[sweep.instance_ids > 0], return_counts=True)
    return FrameMeasurement(
        lidar_points=dict(zip(instances.tolist(), counts.tolist())),
        visible_pixels=dict(visible),
        amodal_pixels=dict(amodal))


def write_map(root: Path, world: World, seed: int) -> None:
    """Write a scene's map twice: as nuScenes' mask, and as vectors in ``maps/vector/<scene name>.json``.

    The mask is white where nuScenes' semantic prior is: on drivable area and sidewalk. Its lower left corner is the
    origin of the global frame. The JSON holds ``scene``, ``location``, ``frame`` and, for each field of
    `synthetic.scene.VectorMap`, a list of ``[[x, y], ...]`` in global metres, to the millimetre.
    """
    vector_map = world.vector_map
    (root / mask_filename(world, seed)).write_bytes(_encode_mask(vector_map))
    data = dict(scene=world.name, location=world.location, frame='global x, y, metres')
    vectors = {name: [np.round(line, 3).tolist() for line in getattr(vector_map, name)] for name in _VECTOR_FIELDS}
    path = root / 'maps' / 'vector' / f'{world.name}.json'
    path.write_text(json.dumps({**data, **vectors}))


def _encode_mask(vector_map: VectorMap) -> bytes:
    areas = [*vector_map.drivable_areas, *vector_map.sidewalks]
    extent = np.concatenate(areas).max(axis=0) + 20.0
    width, height = np.ceil(extent / MASK_RESOLUTION).astype(int)
    mask = np.zeros((height, width), np.uint8)
    for area in areas:
        pixels = np.stack([area[:, 0], extent[1] - area[:, 1]], axis=1) / MASK_RESOLUTION
        cv2.fillPoly(mask, [np.round(pixels).astype(np.int32)], 255)
    # Large even areas: run lengths alone take a third of the time and half of the room.
    return cv2.imencode('.png', mask, [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE])[1].tobytes()


def make_folders(root: Path) -> None:
    """Create the folders that recordings and maps go to."""
    for channel in SENSORS:
        (root / 'samples' / channel).mkdir(parents=True)
    (root / 'maps' / 'vector').mkdir(parents=True)


def write_tables(root: Path, version: str, rows: Rows) -> None:
    """Write every table as ``<root>/<version>/<table>.json``, one row a line."""
    folder = root / version
    folder.mkdir()
    for name, table in rows.items():
        with open(folder / f'{name}.json', 'w') as file:
            file.write('[\n' + ',\n'.join(json.dumps(row) for row in table) + '\n]\n')
