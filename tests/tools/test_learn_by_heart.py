import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_four_frames_are_learned_by_heart(tmp_path):
    """At least 0.8 of what perfect predictions score on the same frames."""
    done = subprocess.run([sys.executable, 'tools/analysis/learn_by_heart.py', '--data', str(tmp_path / 'data'),
                           '--work-dir', str(tmp_path / 'work')], cwd=ROOT, env=dict(os.environ), text=True,
                          capture_output=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    result = json.loads((tmp_path / 'work' / 'result.json').read_text())
    assert result['frames'] == 4 and result['mAP'] >= 0.8 * result['ceiling'] > 0


def test_real_frames_are_cut_trained_on_and_drawn(real_nuscenes_root, tmp_path):
    """Two steps on two frames of a real scene: the ceiling is that of these frames."""
    done = subprocess.run(
        [sys.executable, 'tools/analysis/learn_by_heart.py', 'configs/scene_qformer/scene-qformer_r18_real-scene.py',
         '--cut', '--first-frame', '7', '--frames', '2', '--batch-size', '1', '--steps', '2', '--wanted', '0',
         '--work-dir', str(tmp_path)], cwd=ROOT, text=True, capture_output=True, stdin=subprocess.DEVNULL,
        env={**os.environ, 'NUSCENES_ROOT': str(real_nuscenes_root), 'OMP_NUM_THREADS': '1'})
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    result = json.loads((tmp_path / 'result.json').read_text())
    assert result['frames'] == 2 and result['batch_size'] == 1 and 0.5 < result['ceiling'] <= 1
    assert result['seconds_a_sample'] > 0
    assert len(list((tmp_path / 'frames').glob('*.jpg'))) == 2
