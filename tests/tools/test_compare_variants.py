"""The comparison's script on a tiny budget: trains, resumes, and never mixes budgets."""
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tools.analysis import compare_variants

ROOT = Path(__file__).parents[2]
SMALLER = ['--cfg-options', 'model.backbone.base_channels=4', 'model.neck.in_channels=[16,32]',
           'model.decoder.num_layers=1']


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['compare_variants.py', *map(str, arguments)])
    compare_variants.main()


def test_list(monkeypatch, capsys, tmp_path):
    run(monkeypatch, '--list', '--work-dir', tmp_path / 'work', '--axes', 'encoding', '--only', 'rays', 'depth*',
        '--cross', 'cross-attention', 'encoding')
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'encoding: rays'
    assert lines[1].startswith("    model.positional_encoding=dict(type='RayEncoding', embed_dims=")
    assert lines[-1] == '3 variants with the base, 6 runs'
    assert not (tmp_path / 'work').exists()


def test_the_whole_table_stays_affordable(monkeypatch, capsys):
    run(monkeypatch, '--list', '--seeds', 0)
    printed = capsys.readouterr().out
    assert int(printed.split()[-2]) <= 30
    assert printed.count('JointSceneEncoder\n') == 2  # the slowest to train


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--axes', 'queues'], "There is no axis 'queues': the axes are 'cross-attention', 'cross-att"),
    (['--cross', 'encoding', 'x'], "There is no axis 'x'"),
    (['--only', 'Nothing*'], 'No variant is called Nothing'),
])
def test_wrong_names(monkeypatch, arguments, message):
    with pytest.raises(SystemExit, match=message):
        run(monkeypatch, '--list', *arguments)


def test_a_page_keeps_what_is_around_the_table(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text(f'before\n{compare_variants.BEGIN}\nold\n{compare_variants.END}\nafter\n')
    for table in ('first', 'second'):
        compare_variants.write_page(page, table, np.zeros((4, 5, 3), np.uint8))
    text = page.read_text()
    assert text.startswith('before\n') and text.endswith('\nafter\n')
    assert 'second' in text and 'first' not in text and 'old' not in text
    assert text.count(compare_variants.BEGIN) == 1 and (tmp_path / 'images' / 'variants.png').is_file()
    page.write_text('no marks')
    with pytest.raises(SystemExit, match='lacks the marks'):
        compare_variants.write_page(page, 'x', np.zeros((4, 5, 3), np.uint8))


@pytest.fixture(scope='module')
def data_root(synthetic_root, tmp_path_factory):
    """The shared synthetic set with info files beside links to its folders."""
    root = tmp_path_factory.mktemp('synthetic')
    for folder in synthetic_root.iterdir():
        (root / folder.name).symlink_to(folder)
    subprocess.run([sys.executable, 'tools/create_data.py', '--root', str(root), '--version', 'v1.0-mini'], cwd=ROOT,
                   check=True, capture_output=True)
    return root


def test_trains_and_writes_the_table_once(monkeypatch, data_root, tmp_path, capsys):
    monkeypatch.setenv('SYNTHETIC_NUSCENES_ROOT', str(data_root))
    monkeypatch.setitem(os.environ, 'OMP_NUM_THREADS', '1')
    arguments = ['--work-dir', tmp_path, '--epochs', 1, '--image-epochs', 1, '--seeds', 5, '--jobs', 2,
                 '--rounds', 1, '--only', 'rays', '--axes', 'encoding', *SMALLER]
    run(monkeypatch, *arguments)
    printed = capsys.readouterr().out
    assert '0 of 2 runs are finished already' in printed and '| rays |' in printed
    table = json.loads((tmp_path / 'table.json').read_text())
    row = table['results'][0]
    assert set(row['scores']['5']) == {'mAP', 'NDS'} and row['milliseconds'] > 0
    assert row['parameters'] > table['base']['parameters']  # the MLP of the rays
    assert '1 epochs of 16 frames' in table['facts']['budget of every run']
    assert 'one training of 1 epochs under `ImageCenterPretraining`' in table['facts']['start of every run']
    assert '0 of 1 runs are finished already' in printed and 'image-branch_seed0: 0.' in printed
    assert table['facts']['left out of training, for all rows'] == 'RandomMirrorScene, RandomRotateScaleScene'
    assert (tmp_path / 'variants.png').is_file() and '| rays |' in (tmp_path / 'table.md').read_text()

    run(monkeypatch, *arguments)
    printed = capsys.readouterr().out
    assert '1 of 1 runs are finished already' in printed and '2 of 2 runs are finished already' in printed
    assert 'timing' not in printed
    assert json.loads((tmp_path / 'table.json').read_text()) == table
