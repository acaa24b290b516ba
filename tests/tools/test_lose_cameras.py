"""tools/analysis/lose_cameras.py: the official metric for each set of cameras; a second call goes on, not anew."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.small_encoder import make_small_encoder, save_weights

ROOT = Path(__file__).parents[2]


def run(*arguments):
    command = [sys.executable, str(ROOT / 'tools/analysis/lose_cameras.py'), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)


@pytest.mark.slow  # 13 tests with the official metric
def test_two_models(tmp_path):
    encoder = make_small_encoder(tmp_path)
    other = save_weights(encoder.config, tmp_path / 'other.pth', seed=5)
    page = tmp_path / 'page.md'
    page.write_text('# Page\n<!-- written by lose_cameras.py -->\n<!-- end -->\nrest\n')
    arguments = (encoder.config, encoder.checkpoint, other, '--names', 'plain', 'other', '--subsets', 1, '--work-dir',
                 tmp_path / 'out', '--page', page, '--cfg-options', f'test_evaluator.data_root={encoder.root}',
                 f'test_evaluator.ann_file={encoder.root}/nuscenes_infos_val.pkl', 'test_dataloader.num_workers=0')
    done = run(*arguments)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found = json.loads((tmp_path / 'out/lost_cameras.json').read_text())['results']
    assert [(result['model'], len(result['lost'])) for result in found] == [
        (model, number) for model in ('plain', 'other') for number in range(6)]
    assert all(0 <= result['NDS'] <= 1 for result in found)
    assert '| 5 | 1 |' in page.read_text() and page.read_text().endswith('<!-- end -->\nrest\n')
    assert (tmp_path / 'images/lost_cameras.png').is_file() and (tmp_path / 'out/lost_cameras.png').is_file()

    first = tmp_path / 'out/plain/3.json'
    first.write_text(json.dumps(dict(lost=['CAM_BACK'], NDS=0.875, mAP=0.5)))
    (tmp_path / 'out/other/5.json').unlink()
    done = run(*arguments)
    assert done.returncode == 0 and '0.8750' in done.stdout  # taken as it is
    assert json.loads((tmp_path / 'out/other/5.json').read_text())['lost']
    assert 'held results of other settings' not in done.stdout


@pytest.mark.slow
def test_names_and_files(tmp_path):
    config = ROOT / 'configs/scene_qformer/scene-qformer_tiny_synthetic.py'
    done = run(config, tmp_path / 'none.pth')
    assert done.returncode == 2 and 'there is no checkpoint' in done.stderr
    done = run(config, tmp_path / 'a.pth', tmp_path / 'b.pth')
    assert done.returncode == 2 and 'a different name for each of 2 checkpoints' in done.stderr
