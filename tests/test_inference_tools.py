"""The tools that use a trained model, on the embedded config with fresh weights and a small synthetic set."""
from __future__ import annotations

import sys
from pathlib import Path

import cv2
import pytest
import torch
from mmengine.config import Config

from scene_qformer.datasets.nuscenes_infos import create_info_files
from scene_qformer.inference import build_test_dataset, keep_confident, load_model, predict_frame
from tools import browse_dataset, initialize_checkpoint, visualize_predictions

CONFIG = str(Path(__file__).parents[1] / 'configs/scene_qformer/scene-qformer_tiny_synthetic.py')


@pytest.fixture(scope='module')
def data_root(synthetic_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shared set, which must not be written into, with info files beside it."""
    root = tmp_path_factory.mktemp('synthetic') / 'data'
    root.mkdir()
    for path in synthetic_root.iterdir():
        (root / path.name).symlink_to(path)
    create_info_files(root, 'v1.0-mini')
    return root


@pytest.fixture
def run(data_root: Path, monkeypatch: pytest.MonkeyPatch):
    """Call a tool's ``main`` with these arguments."""
    monkeypatch.setenv('SYNTHETIC_NUSCENES_ROOT', str(data_root))

    def call(tool, *arguments: str) -> None:
        monkeypatch.setattr(sys, 'argv', ['tool', CONFIG, *arguments])
        tool.main()

    return call


@pytest.fixture(scope='module')
def checkpoint_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('checkpoint')


@pytest.fixture
def checkpoint(run, checkpoint_folder: Path) -> str:
    path = checkpoint_folder / 'untrained.pth'
    if not path.exists():
        run(initialize_checkpoint, '--out', str(path))
    return str(path)


def test_checkpoint_is_the_same_for_the_same_seed(run, checkpoint: str, tmp_path: Path):
    again = tmp_path / 'again.pth'
    run(initialize_checkpoint, '--out', str(again))
    first, second = load_model(Config.fromfile(CONFIG), checkpoint), load_model(Config.fromfile(CONFIG), str(again))
    assert not first.training
    for one, other in zip(first.state_dict().values(), second.state_dict().values()):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_pictures(run, checkpoint: str, tmp_path: Path):
    run(visualize_predictions, checkpoint, '--out-dir', str(tmp_path), '--num', '2', '--suffix', '.jpg')
    pictures = sorted(tmp_path.glob('*.jpg'))
    assert [path.name[:5] for path in pictures] == ['0000_', '0003_']  # the first and last of 2 scenes x 2 samples
    # panels of 640 x 360, gaps of 6, a square of the panels' height beside, two strips of 38
    assert cv2.imread(str(pictures[0])).shape == (726 + 76, 3 * 640 + 2 * 6 + 6 + 726, 3)


def test_prediction_of_a_frame(run, checkpoint: str):
    cfg = Config.fromfile(CONFIG)
    dataset = build_test_dataset(cfg)
    instances = predict_frame(load_model(cfg, checkpoint), dataset[1]).pred_instances_3d
    assert len(instances.scores_3d) > 5
    threshold = float(instances.scores_3d.sort(descending=True).values[2])
    kept = keep_confident(instances, threshold)
    assert (kept.scores_3d >= threshold).all()
    assert len(kept.bboxes_3d) == int((instances.scores_3d >= threshold).sum())


def test_browsing_draws_the_truth(run, tmp_path: Path):
    run(browse_dataset, '--out-dir', str(tmp_path), '--num', '1')
    picture, = tmp_path.glob('0000_*.png')
    image = cv2.imread(str(picture))
    assert image.shape == (726 + 76, 3 * 640 + 2 * 6 + 6 + 726, 3)
    above = image[38:-38, -726:]
    assert (above.min(axis=2) > 240).sum() > 100  # white outlines of true boxes
