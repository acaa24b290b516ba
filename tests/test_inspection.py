"""Queries of the embedded config with fresh weights, and the tool that draws where they look."""
from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import LiDARInstance3DBoxes
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import nn

from scene_qformer.datasets.nuscenes_infos import create_info_files
from scene_qformer.geometry import project
from scene_qformer.inference import build_test_dataset, load_model, predict_frame
from scene_qformer.inspection import choose_queries, inspect_frame
from scene_qformer.models.positional_encoding import sine_embedding
from scene_qformer.variants import axes, with_options
from tools import initialize_checkpoint, visualize_attention

CONFIG = str(Path(__file__).parents[1] / 'configs/scene_qformer/scene-qformer_tiny_synthetic.py')
CFG = Config.fromfile(CONFIG)
NUM_QUERIES, NUM_LAYERS = CFG.model.scene_queries.num_queries, CFG.model.decoder.num_layers
SMALLER = {'model.backbone.base_channels': 4, 'model.neck.in_channels': [8, 16, 32],
           'model.scene_queries.num_queries': 31, 'model.scene_queries.num_proposals': 17}
ATTENTIONS = {CFG.model.decoder.cross_attn_cfg.type: {}, **axes(CFG)['cross-attention']}
CAMERA_POINTS = ['model.decoder.cross_attn_cfg._delete_=True', 'model.decoder.cross_attn_cfg.num_levels=6',
                 'model.decoder.cross_attn_cfg.type=MultiScaleDeformableAttention']


@pytest.fixture(scope='module')
def root(synthetic_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shared set, which must not be written into, with info files; and a place for checkpoints."""
    root = tmp_path_factory.mktemp('inspection')
    for path in synthetic_root.iterdir():
        (root / path.name).symlink_to(path)
    create_info_files(root, 'v1.0-mini')
    return root


@pytest.fixture
def run(root: Path, monkeypatch: pytest.MonkeyPatch):
    """Call a tool's ``main`` with these arguments."""
    monkeypatch.setenv('SYNTHETIC_NUSCENES_ROOT', str(root))

    def call(tool, *arguments: str) -> None:
        monkeypatch.setattr(sys, 'argv', ['tool', CONFIG, *arguments])
        tool.main()

    return call


@pytest.fixture
def checkpoint(run, root: Path) -> str:
    path = root / 'untrained.pth'
    if not path.exists():
        run(initialize_checkpoint, '--out', str(path))
    return str(path)


@pytest.fixture
def model_and_dataset(checkpoint: str):
    cfg = Config.fromfile(CONFIG)
    return load_model(cfg, checkpoint), build_test_dataset(cfg)


def test_queries_of_a_frame(model_and_dataset):
    model, dataset = model_and_dataset
    frame = inspect_frame(model, dataset[1])
    assert len(frame.predictions) == len(frame.reference_points) == model.scene_queries.num_queries
    # the surest of all is the first that predict returns
    best, expected = int(frame.predictions.scores_3d.argmax()), predict_frame(model, dataset[1]).pred_instances_3d
    mine = frame.prediction(best)
    assert float(mine.scores_3d) == pytest.approx(float(expected.scores_3d[0]), abs=1e-5)
    assert int(mine.labels_3d) == int(expected.labels_3d[0])
    assert torch.allclose(mine.bboxes_3d.tensor[0], expected.bboxes_3d.tensor[0], atol=1e-3)
    assert frame.prediction(len(frame.predictions)) is None
    assert frame.layer_name == f'{NUM_LAYERS} of {NUM_LAYERS}'
    assert inspect_frame(model, dataset[1], layer=0).layer_name == f'1 of {NUM_LAYERS}'


def test_look_of_a_query(model_and_dataset):
    model, dataset = model_and_dataset
    frame = inspect_frame(model, dataset[0])
    metainfo = dataset[0]['data_samples'].metainfo
    pixels, _, seen = project(frame.reference_points, metainfo['lidar2img'], frame.image_size[::-1])
    one_camera = int(np.flatnonzero(seen.sum(0) == 1)[0])
    no_camera = int(np.flatnonzero(seen.sum(0) == 0)[0])
    look, camera = frame.look(one_camera), int(np.flatnonzero(seen[:, one_camera])[0])
    name = metainfo['cam_names'][camera]
    load, crop = CFG.test_pipeline[:2]
    assert look.image_size == frame.image_size == tuple(crop.size)
    assert look.maps[name][0].shape == (crop.size[1] // 8, crop.size[0] // 8)
    assert [other for other in look.maps if look.share(other)] == [name]
    assert look.share(name) == pytest.approx(1)
    assert list(look.points) == [name]
    np.testing.assert_allclose(look.points[name], pixels[camera, one_camera], atol=1e-3)
    # the attention surrounds the point: samples lie within 3 cells of 8 pixels
    rows, columns = np.nonzero(look.maps[name][0])
    assert np.abs((columns + 0.5) * 8 - look.points[name][0]).max() <= 4 * 8 + 1e-3
    assert np.abs((rows + 0.5) * 8 - look.points[name][1]).max() <= 4 * 8 + 1e-3
    # 1600x900 shrunk, the middle of which lies higher by the rows that the crop takes from the top
    (width, height), above = load.size, round(crop.anchor[1] * (load.size[1] - crop.size[1]))
    np.testing.assert_allclose(look.image_maps[name] @ (800, 450, 1), (width / 2, height / 2 - above, 1), atol=1e-3)
    assert not frame.look(no_camera).points and not any(map(frame.look(no_camera).share, look.maps))


def test_points_of_each_camera(run, root: Path, tmp_path: Path):
    run(initialize_checkpoint, '--out', str(tmp_path / 'points.pth'), '--cfg-options', *CAMERA_POINTS)
    cfg = Config.fromfile(CONFIG)
    cfg.model.decoder.cross_attn_cfg = dict(type='MultiScaleDeformableAttention', num_levels=6)
    model, dataset = load_model(cfg, str(tmp_path / 'points.pth')), build_test_dataset(cfg)
    frame = inspect_frame(model, dataset[0])
    assert frame.reference_points.shape == (model.scene_queries.num_queries, 3)
    assert np.abs(frame.reference_points).max() > 10  # metres, of the queries' own points
    look = frame.look(5)
    points = frame.attention.inputs()['reference_points'][0, 5].numpy()
    names = dataset[0]['data_samples'].metainfo['cam_names']
    np.testing.assert_allclose([look.points[name] for name in names], points * frame.image_size, atol=1e-3)


@pytest.fixture(scope='module')
def small_frame(root: Path):
    """The first frame at 112x32 pixels."""
    cfg = Config.fromfile(CONFIG)
    cfg.test_dataloader.dataset.data_root = str(root)
    load, crop = cfg.test_dataloader.dataset.pipeline[:2]
    load.size, crop.size = (112, 63), (112, 32)
    return build_test_dataset(cfg)[0]


@pytest.mark.parametrize('name', ATTENTIONS)
def test_every_attention_from_the_points_of_its_layer(name: str, small_frame):
    model = MODELS.build(with_options(with_options(CFG, SMALLER), ATTENTIONS[name]).model)
    model.init_weights()
    model.eval()
    moving = getattr(model.decoder, 'refinements', None)
    assert (moving is None) == (name == 'Blip2QueryDecoder')
    for refinement in moving or ():
        nn.init.normal_(refinement.weight, std=0.1)
    told = []  # what each layer is told of its points; only the first, where they do not move
    model.decoder.position_mlp.register_forward_pre_hook(lambda module, arguments: told.append(arguments[0][0]))
    low, high = (part.numpy() for part in model.bbox_head.point_cloud_range.split(3))
    frames = [inspect_frame(model, small_frame, layer) for layer in range(NUM_LAYERS)]
    for layer, frame in enumerate(frames):
        points = torch.from_numpy((frame.reference_points - low) / (high - low))
        embedded = sine_embedding(points, model.decoder.embed_dims // 2)
        torch.testing.assert_close(embedded, told[layer if moving else 0], atol=1e-4, rtol=0)
        assert frame.layer_name == f'{layer + 1} of {NUM_LAYERS}'
        look = frame.look(5)
        total = sum(map(look.share, look.maps))
        assert total == pytest.approx(1, abs=1e-4) or (total == 0 and not look.points)
        if 'MultiScaleDeformable' not in name:
            pixels, _, seen = project(frame.reference_points[5:6], frame.metainfo['lidar2img'], (32, 112))
            expected = {camera: pixels[index, 0] for index, camera in enumerate(frame.metainfo['cam_names'])
                        if seen[index, 0]}
            assert look.points.keys() == expected.keys()
            for camera, pixel in expected.items():
                np.testing.assert_allclose(look.points[camera], pixel, atol=1e-6)
    moved = np.abs(frames[-1].reference_points - frames[0].reference_points).max()
    assert moved > 0.1 if moving else moved == 0  # metres
    np.testing.assert_array_equal(inspect_frame(model, small_frame).reference_points, frames[-1].reference_points)


def test_model_without_head_is_refused(model_and_dataset):
    model, dataset = model_and_dataset
    model.bbox_head = None
    with pytest.raises(ValueError, match='no bbox_head'):
        inspect_frame(model, dataset[0])


def test_choice_of_queries():
    places = torch.tensor([[0., 0], [1, 0], [50, 0], [0, 2], [3, 0], [0, 40]])
    boxes = LiDARInstance3DBoxes(torch.cat((places, torch.ones(6, 7)), 1), box_dim=9)
    predictions = InstanceData(bboxes_3d=boxes, labels_3d=torch.tensor([1, 1, 1, 0, 0, 1]),
                               scores_3d=torch.tensor([0.5, 0.9, 0.4, 0.3, 0.6, 0.2]))
    assert choose_queries(predictions, 1) == [1]
    assert choose_queries(predictions, 2) == [1, 4]  # the surest of both classes
    assert choose_queries(predictions, 4) == [1, 4, 2, 5]  # then the farthest from all chosen
    assert sorted(choose_queries(predictions, 9)) == list(range(6))


def test_pictures(run, checkpoint: str, tmp_path: Path):
    run(visualize_attention, checkpoint, '--out-dir', str(tmp_path), '--num', '2', '--num-queries', '2')
    names = sorted(path.name for path in tmp_path.iterdir())
    assert [name[:5] for name in names] == ['0000_', '0000_', '0003_', '0003_']  # the first and last of four frames
    # panels of 640 x 360, gaps of 6, a square of the panels' height beside, two strips of 38
    assert cv2.imread(str(tmp_path / names[0])).shape == (726 + 76, 3 * 640 + 2 * 6 + 6 + 726, 3)


def test_chosen_frames_queries_and_layer(run, checkpoint: str, tmp_path: Path):
    run(visualize_attention, checkpoint, '--out-dir', str(tmp_path), '--sample-idx', '2', '--queries', '7', '0',
        '--layer', '0', '--suffix', '.jpg')
    assert sorted(path.name[:4] + path.name[-9:] for path in tmp_path.iterdir()) == ['0002_q000.jpg', '0002_q007.jpg']


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--sample-idx', '4'], 'no frame 4: the test set has 0 to 3'),
    (['--num', '1', '--queries', f'{NUM_QUERIES}'], f'no query {NUM_QUERIES}: there are 0 to {NUM_QUERIES - 1}'),
    (['--num', '1', '--layer', f'{NUM_LAYERS}'], f'no layer {NUM_LAYERS}: {NUM_LAYERS} were recorded'),
])
def test_wrong_numbers_are_refused(run, checkpoint: str, tmp_path: Path, arguments: list[str], message: str):
    with pytest.raises((SystemExit, IndexError), match=message):
        run(visualize_attention, checkpoint, '--out-dir', str(tmp_path), *arguments)
