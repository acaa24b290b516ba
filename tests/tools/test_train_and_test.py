"""tools/train.py and tools/test.py as a user calls them, on a small synthetic nuScenes."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/scene_qformer/scene-qformer_tiny_synthetic.py'
SMALLER = [
    'model.backbone.base_channels=4', 'model.neck.in_channels=[8,16,32]', 'model.scene_queries.num_queries=23',
    'model.scene_queries.num_proposals=11', 'train_dataloader.batch_size=4', 'default_hooks.logger.interval=1',
    'train_cfg.val_interval=9'
]


def run(script, *arguments, root, check=True):
    environment = {**os.environ, 'SYNTHETIC_NUSCENES_ROOT': str(root), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run([sys.executable, f'tools/{script}', *map(str, arguments)], cwd=ROOT, env=environment,
                          capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert not check or done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done


@pytest.fixture(scope='module')
def data_root(synthetic_root, tmp_path_factory):
    """The shared synthetic set with info files beside links to its folders."""
    root = tmp_path_factory.mktemp('synthetic')
    for folder in synthetic_root.iterdir():
        (root / folder.name).symlink_to(folder)
    run('create_data.py', '--root', root, '--version', 'v1.0-mini', root=root)
    return root


@pytest.fixture(scope='module')
def trained(data_root, tmp_path_factory):
    """A work directory after one epoch with mixed precision."""
    work_dir = tmp_path_factory.mktemp('train')
    run('train.py', CONFIG, '--work-dir', work_dir, '--amp', '--cfg-options', *SMALLER, 'train_cfg.max_epochs=1',
        root=data_root)
    return work_dir


def test_train_then_resume(trained, data_root):
    done = run('train.py', CONFIG, '--work-dir', trained, '--resume', '--cfg-options', *SMALLER,
               'train_cfg.max_epochs=2', root=data_root)
    log = done.stdout + done.stderr
    assert 'resumed epoch: 1, iter: 4' in log
    assert 'Epoch(train) [2][1/4]' in log and 'Epoch(train) [1]' not in log
    assert (trained / 'epoch_2.pth').is_file()


def test_test_scores_with_the_official_metric(trained, data_root, tmp_path):
    done = run('test.py', CONFIG, trained / 'epoch_1.pth', '--work-dir', tmp_path, '--cfg-options', *SMALLER,
               root=data_root)
    assert 'mAP:' in done.stdout and 'NDS:' in done.stdout and 'traffic_cone' in done.stdout


def test_checkpoint_of_another_shape(trained, data_root, tmp_path):
    done = run('test.py', CONFIG, trained / 'epoch_1.pth', '--work-dir', tmp_path, '--cfg-options', *SMALLER[:2],
               'model.scene_queries.num_proposals=11', 'model.scene_queries.num_queries=31', root=data_root,
               check=False)
    assert done.returncode != 0
    assert 'checkpoint (12, 128), model (20, 128)' in done.stderr


def test_checkpoint_without_a_part(trained, data_root, tmp_path):
    weights = torch.load(trained / 'epoch_1.pth', weights_only=False)['state_dict']
    kept = {name: value for name, value in weights.items() if not name.startswith(('decoder.', 'denoising.'))}
    torch.save(dict(state_dict=kept), tmp_path / 'part.pth')
    done = run('test.py', CONFIG, tmp_path / 'part.pth', '--work-dir', tmp_path, '--cfg-options', *SMALLER,
               root=data_root, check=False)
    assert done.returncode != 0 and 'weights of decoder, such as decoder.' in done.stderr


class Bomb:

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path, )


def test_checkpoint_with_code(trained, data_root, tmp_path):
    checkpoint = torch.load(trained / 'epoch_1.pth', weights_only=False)  # our own, from the fixture
    checkpoint['meta']['extra'] = Bomb(tmp_path / 'was_run')
    torch.save(checkpoint, tmp_path / 'evil.pth')
    done = run('test.py', CONFIG, tmp_path / 'evil.pth', '--work-dir', tmp_path, '--cfg-options', *SMALLER,
               root=data_root, check=False)
    assert done.returncode != 0 and 'it carries more than weights' in done.stderr
    assert not (tmp_path / 'was_run').exists()


def test_resuming_does_not_run_the_config_in_the_checkpoint(trained, data_root, tmp_path):
    checkpoint = torch.load(trained / 'epoch_1.pth', weights_only=False)
    checkpoint['meta']['config'] = f'import pathlib\npathlib.Path({str(tmp_path / "was_run")!r}).touch()\n'
    torch.save(checkpoint, tmp_path / 'epoch_1.pth')
    run('train.py', CONFIG, '--work-dir', tmp_path, '--resume', tmp_path / 'epoch_1.pth', '--cfg-options', *SMALLER,
        'train_cfg.max_epochs=1', root=data_root)
    assert not (tmp_path / 'was_run').exists()


@pytest.mark.parametrize(('arguments', 'message'), [
    (['no_such_config.py'], 'There is no config no_such_config.py'),
    ([CONFIG, '--cfg-options', 'train_dataloader.dataset.data_root=nowhere'],
     'The data root nowhere does not exist'),
    ([CONFIG, '--cfg-options', 'model.decoder.cross_attn_cfg.type=NoSuchPart'], 'NoSuchPart is not in the'),
])
def test_bad_input_stops_with_its_reason(arguments, message, data_root, tmp_path):
    config, *options = arguments
    done = run('train.py', config, '--work-dir', tmp_path, *options, root=data_root, check=False)
    assert done.returncode != 0 and message in done.stderr
