import sys
from pathlib import Path

import cv2
import pytest
import torch
from mmdet3d.registry import MODELS
from mmengine.config import Config

from scene_qformer.datasets.nuscenes_infos import create_info_files
from tools.analysis import check_gradients

CONFIG = Path(__file__).parents[2] / 'configs/scene_qformer/scene-qformer_tiny_synthetic.py'
SMALLER = ['--device', 'cpu', '--cfg-options', 'model.backbone.base_channels=4', 'model.neck.in_channels=[8,16,32]',
           'model.scene_queries.num_queries=23', 'model.scene_queries.num_proposals=11',
           'train_dataloader.batch_size=2']


@pytest.fixture(scope='module')
def data_root(synthetic_root, tmp_path_factory):
    root = tmp_path_factory.mktemp('synthetic')
    for path in synthetic_root.iterdir():
        (root / path.name).symlink_to(path)
    create_info_files(root, 'v1.0-mini')
    return root


@pytest.fixture
def run(data_root, monkeypatch):
    monkeypatch.setenv('SYNTHETIC_NUSCENES_ROOT', str(data_root))

    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', ['check_gradients.py', str(CONFIG), *map(str, arguments)])
        check_gradients.main()

    return call


def test_all_but_the_projector_get_gradients(run, capsys, tmp_path):
    picture = tmp_path / 'gradients.png'
    run('--strict', '--allow', 'projector.', '--out', picture, *SMALLER)
    printed = capsys.readouterr().out
    assert '2 samples, loss ' in printed
    rows = {row.split('|')[1].strip(): [cell.strip() for cell in row.split('|')[2:7]]
            for row in printed.splitlines() if row.startswith('| ')}
    assert rows['projector'][2:] == ['0', '0.00e+00', '4 none']
    for part in ('backbone', 'neck', 'scene_queries', 'decoder', 'denoising'):
        assert float(rows[part][2]) > 0 and rows[part][4] == '', part
    before_zero = MODELS.build(Config.fromfile(CONFIG).model.bbox_head).reg_branch[:-1]  # its last layer starts at zero
    assert rows['bbox_head'][4] == f'{len(list(before_zero.parameters()))} zero'
    assert 'no gradient: projector.layers.0.weight' in printed
    assert cv2.imread(str(picture)).shape[1] == 1000


def test_strict(run):
    with pytest.raises(SystemExit, match=r'4 parameters that are not frozen got no gradient: projector\.layers'):
        run('--strict', *SMALLER)


def test_every_parameter_of_a_checkpoint_and_frozen_ones(run, capsys, tmp_path):
    run('--all', '--depth', 3, *SMALLER, 'model.backbone.frozen_stages=2')
    printed = capsys.readouterr().out
    assert '| backbone.conv1.weight | 588 |' in printed and '1 frozen' in printed
    assert '| decoder.layers.2 |' in printed and '| decoder.layers.2.norms.0.bias | 128 | 0 |' in printed
    queries = MODELS.build(dict(Config.fromfile(CONFIG).model.scene_queries, num_queries=23, num_proposals=11))
    name, points = next((f'scene_queries.{name}', parameter) for name, parameter in queries.named_parameters()
                        if name.endswith('reference_points.weight'))
    torch.save(dict(state_dict={name: torch.full(points.shape, 0.5)}), tmp_path / 'some.pth')
    run('--all', '--checkpoint', tmp_path / 'some.pth', *SMALLER)
    count = points.numel()
    assert f'| {name} | {count} | {0.5 * count**0.5:.3g} |' in capsys.readouterr().out
