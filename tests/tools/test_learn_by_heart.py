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
