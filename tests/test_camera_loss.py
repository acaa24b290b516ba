"""Which cameras are lost, in which config, and the table of what came of it."""
import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from scene_qformer.camera_loss import camera_names, choose_losses, without_cameras
from scene_qformer.evaluation.camera_loss_table import CameraLoss, to_json, to_markdown
from scene_qformer.visualization.camera_loss_plot import draw_camera_loss

CONFIG = Path(__file__).parents[1] / 'configs/scene_qformer/scene-qformer_tiny_synthetic.py'
RESULTS = [
    CameraLoss('plain', (), 0.5, 0.25),
    CameraLoss('plain', ('A', ), 0.25, 0.125),
    CameraLoss('plain', ('B', ), 0.375, 0.),
    CameraLoss('dropout', (), 0.4, 0.2),
    CameraLoss('dropout', ('A', ), 0.3, 0.1),
    CameraLoss('dropout', ('B', ), 0.4, 0.2)]


def test_losses():
    names = ('A', 'B', 'C', 'D')
    assert choose_losses(names, 99) == [
        (), ('A', ), ('B', ), ('C', ), ('D', ), ('A', 'B'), ('A', 'C'), ('A', 'D'), ('B', 'C'), ('B', 'D'), ('C', 'D'),
        ('A', 'B', 'C'), ('A', 'B', 'D'), ('A', 'C', 'D'), ('B', 'C', 'D')]
    few = choose_losses(names, 3, seed=5)
    assert [len(lost) for lost in few] == [0, 1, 1, 1, 2, 2, 2, 3, 3, 3] and len(set(few)) == 10
    assert few == choose_losses(names, 3, seed=5) != choose_losses(names, 3, seed=6)
    with pytest.raises(ValueError, match='at least one subset'):
        choose_losses(names, 0)


def test_config_without_cameras():
    cfg = Config.fromfile(CONFIG)
    lost = without_cameras(cfg, ['CAM_BACK'])
    kinds = [step.type for step in lost.test_dataloader.dataset.pipeline]
    assert kinds == ['LoadSurroundImages', 'CropSurroundImages', 'DropCameras', 'PackSceneInputs']
    assert without_cameras(cfg, ()).pretty_text == cfg.pretty_text
    assert len(cfg.test_dataloader.dataset.pipeline) == 3 and len(camera_names(cfg)) == 6
    cfg.test_dataloader.dataset.pipeline.append(dict(type='Pack3DDetInputs', keys=['img']))
    with pytest.raises(ValueError, match='ends with PackSceneInputs'):
        without_cameras(cfg, ['CAM_BACK'])


def test_table():
    lines = to_markdown(RESULTS, dict(seed='0')).splitlines()
    assert lines == [
        '- seed: 0', '',
        '| cameras lost | subsets | NDS, plain | NDS, dropout | mAP, plain | mAP, dropout |',
        '|---:|---:|---:|---:|---:|---:|',
        '| 0 | 1 | **0.500** | **0.400** | **0.250** | **0.200** |',
        '| 1 | 2 | **0.312** (0.250-0.375) | **0.350** (0.300-0.400) | **0.062** (0.000-0.125) | **0.150** '
        '(0.100-0.200) |']
    assert json.loads(to_json(RESULTS, {}))['results'][1] == dict(model='plain', lost=['A'], NDS=0.25, mAP=0.125)


def test_picture():
    picture = draw_camera_loss(RESULTS, 'title')
    assert picture.shape == (500, 1300, 3) and picture.dtype == np.uint8
    assert not np.array_equal(picture, draw_camera_loss(RESULTS[:3], 'title'))
