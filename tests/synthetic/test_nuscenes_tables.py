import json
from pathlib import Path

import numpy as np
import pytest
from nuscenes import NuScenes
from nuscenes.eval.detection.config import config_factory
from nuscenes.eval.detection.evaluate import DetectionEval
from nuscenes.eval.detection.utils import category_to_detection_name
from nuscenes.utils.splits import mini_val

from scene_qformer.synthetic.lidar import cast_lidar
from scene_qformer.synthetic.lighting import make_lighting
from scene_qformer.synthetic.nuscenes_tables import TABLES, FrameMeasurement, fixed_rows, scene_rows
from scene_qformer.synthetic.nuscenes_taxonomy import visibility_token
from scene_qformer.synthetic.nuscenes_writer import make_folders, write_map, write_tables
from scene_qformer.synthetic.posing import Poser
from scene_qformer.synthetic.world import build_world


@pytest.mark.parametrize('visible, amodal, token', [(0, 0, '1'), (0, 7, '1'), (2, 5, '1'), (41, 100, '2'), (3, 5, '2'),
                                                    (61, 100, '3'), (4, 5, '3'), (81, 100, '4'), (7, 7, '4')])
def test_visibility_levels(visible: int, amodal: int, token: str):
    assert visibility_token(visible, amodal) == token


def test_hidden_objects_have_no_rows():
    world = build_world('scene-0061', 2, 0)
    shown, touched = (state.instance for state in world.frames[0].objects[:2])
    measured = [FrameMeasurement({}, {shown: 5}, {shown: 10}), FrameMeasurement({touched: 3}, {}, {})]
    rows = scene_rows(world, measured, seed=0)
    assert len(rows['instance']) == 2
    by_points = sorted((row['num_lidar_pts'], row['visibility_token']) for row in rows['sample_annotation'])
    assert by_points == [(0, '1'), (0, '1'), (0, '2'), (3, '1')]


@pytest.fixture(scope='module')
def mini_val_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole mini_val, 2 scenes of 40 samples, with tables, maps and true lidar counts, but without recordings."""
    root = tmp_path_factory.mktemp('mini_val')
    make_folders(root)
    rows = fixed_rows()
    for name in mini_val:
        world = build_world(name, 40, seed=0)
        write_map(root, world, 0)
        poser = Poser(world, make_lighting(world.weather))
        measured = []
        for frame in world.frames:
            sweep = cast_lidar(world, frame, np.random.default_rng(0), poser)
            ids, counts = np.unique(sweep.instance_ids[sweep.instance_ids > 0], return_counts=True)
            measured.append(FrameMeasurement(dict(zip(ids.tolist(), counts.tolist())), {}, {}))
        for table, entries in scene_rows(world, measured, 0).items():
            rows[table] = rows.get(table, []) + entries
    write_tables(root, 'v1.0-mini', rows)
    return root


def test_perfect_predictions_score(mini_val_root: Path, tmp_path: Path):
    nusc = NuScenes('v1.0-mini', str(mini_val_root), verbose=False)
    names = {row['token']: row['name'] for row in nusc.attribute}
    results: dict[str, list] = {sample['token']: [] for sample in nusc.sample}
    for row in nusc.sample_annotation:
        if row['num_lidar_pts'] > 0:
            results[row['sample_token']].append(dict(
                sample_token=row['sample_token'], translation=row['translation'], size=row['size'],
                rotation=row['rotation'], velocity=np.nan_to_num(nusc.box_velocity(row['token'])[:2]).tolist(),
                detection_name=category_to_detection_name(row['category_name']), detection_score=1.0,
                attribute_name=names[row['attribute_tokens'][0]] if row['attribute_tokens'] else ''))
    assert len(results) == 80
    meta = dict(use_camera=True, use_lidar=False, use_radar=False, use_map=False, use_external=False)
    (tmp_path / 'results.json').write_text(json.dumps(dict(meta=meta, results=results)))
    evaluation = DetectionEval(nusc, config_factory('detection_cvpr_2019'), str(tmp_path / 'results.json'), 'mini_val',
                               str(tmp_path), verbose=False)
    metrics, _ = evaluation.evaluate()
    assert metrics.mean_ap >= 0.88
    assert min(metrics.mean_dist_aps.values()) >= 0.88  # no class is absent
    assert max(metrics.tp_errors.values()) < 1e-6
    counted = [sum(box.detection_name == name for box in evaluation.gt_boxes.all) for name in metrics.mean_dist_aps]
    assert min(counted) >= 28  # of each class, boxes that count: in range and hit by the lidar


def test_tables_are_complete(mini_val_root: Path):
    assert sorted(path.stem for path in (mini_val_root / 'v1.0-mini').iterdir()) == sorted(TABLES)
