"""The launch scripts as a user calls them. Wrong calls and killed workers: tests/faults/test_processes.py."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import free_port
from tests.tools.test_train_and_test import CONFIG, ROOT, SMALLER, data_root  # noqa: F401  (a fixture)

FSDP = ROOT / 'configs/scene_qformer/scene-qformer_tiny-fsdp_synthetic.py'


def environment(**variables):
    return {**os.environ, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1', **variables}


def call(script, *arguments, **variables):
    return subprocess.run([f'tools/{script}', *map(str, arguments)], cwd=ROOT, env=environment(**variables),
                          capture_output=True, text=True, stdin=subprocess.DEVNULL)


def test_what_srun_is_asked_for(tmp_path):
    """With an srun that prints its arguments."""
    fake = tmp_path / 'srun'
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    done = call('slurm_train.sh', 'gpu', 'a name', CONFIG, 'out dir', '--resume', GPUS='16',
                SRUN_ARGS='--time=1:00:00 --qos=low', PATH=f'{tmp_path}:{os.environ["PATH"]}')
    arguments = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert {'--partition=gpu', '--job-name=a name', '--ntasks=16', '--ntasks-per-node=8', '--gres=gpu:8', '--qos=low',
            '--kill-on-bad-exit=1'} <= set(arguments)
    assert arguments[-7:] == [str(ROOT / 'tools/train.py'), str(CONFIG), '--work-dir', 'out dir', '--launcher',
                              'slurm', '--resume']


def start(config, work_dir, root, *flags, options=(), **variables):
    """dist_train.sh with two processes, its output in a file."""
    command = ['tools/dist_train.sh', config, '2', '--work-dir', work_dir, *flags, '--cfg-options', *SMALLER, *options]
    variables = environment(SYNTHETIC_NUSCENES_ROOT=str(root), PORT=free_port(), **variables)
    with open(f'{work_dir}.log', 'w') as log:
        return subprocess.Popen(list(map(str, command)), cwd=ROOT, env=variables, stdout=log, stderr=subprocess.STDOUT,
                                stdin=subprocess.DEVNULL, start_new_session=True)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_fsdp_from_the_command_line(data_root, tmp_path):  # noqa: F811
    """Trains, resumes from its checkpoint, passes over a torn one; and that is tested by one process without FSDP."""
    work_dir = tmp_path / 'train'
    for epochs in (1, 2, 2):
        process = start(FSDP, work_dir, data_root, '--resume', options=[f'train_cfg.max_epochs={epochs}'])
        assert process.wait(600) == 0, Path(f'{work_dir}.log').read_text()[-4000:]
        log = Path(f'{work_dir}.log').read_text()
        assert ('passed over' in log) == (work_dir / 'epoch_2.pth.torn').exists()
        assert f'Epoch(train) [{epochs}][2/2]' in log and (epochs == 1 or 'Epoch(train) [1]' not in log)
        if epochs == 2 and 'passed over' not in log:
            (work_dir / 'epoch_2.pth').write_bytes(b'torn')
    done = subprocess.run(
        [sys.executable, 'tools/test.py', str(FSDP), str(work_dir / 'epoch_2.pth'), '--work-dir', str(tmp_path),
         '--cfg-options', *SMALLER], cwd=ROOT, capture_output=True, text=True,
        env=environment(SYNTHETIC_NUSCENES_ROOT=str(data_root)))
    assert done.returncode == 0 and 'NDS:' in done.stdout, done.stderr[-3000:]
