"""The launch scripts as a user calls them: wrong calls, and a training whose worker is killed in the middle."""
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.tools.test_train_and_test import CONFIG, ROOT, SMALLER, data_root  # noqa: F401  (a fixture)

FSDP = ROOT / 'configs/scene_qformer/scene-qformer_tiny-fsdp_synthetic.py'


def environment(**variables):
    return {**os.environ, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1', **variables}


def call(script, *arguments, **variables):
    return subprocess.run([f'tools/{script}', *map(str, arguments)], cwd=ROOT, env=environment(**variables),
                          capture_output=True, text=True, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize(('script', 'arguments', 'variables', 'message'), [
    ('dist_train.sh', [], {}, 'Usage: tools/dist_train.sh CONFIG GPUS'),
    ('dist_train.sh', [CONFIG], {}, 'Usage: tools/dist_train.sh CONFIG GPUS'),
    ('dist_train.sh', ['no.py', 2], {}, 'there is no config no.py'),
    ('dist_train.sh', [CONFIG, 'two'], {}, "GPUS must be a number from 1 on, got 'two'"),
    ('dist_train.sh', [CONFIG, 0], {}, "GPUS must be a number from 1 on, got '0'"),
    ('dist_train.sh', [CONFIG, 2], dict(MAX_RESTARTS='3'), 'MAX_RESTARTS=3 without --resume would begin'),
    ('dist_test.sh', [CONFIG, 'a.pth'], {}, 'Usage: tools/dist_test.sh CONFIG CHECKPOINT GPUS'),
    ('dist_test.sh', [CONFIG, 'no.pth', 2], {}, 'there is no checkpoint no.pth'),
    ('dist_test.sh', [CONFIG, CONFIG, '-1'], {}, "GPUS must be a number from 1 on, got '-1'"),
    ('slurm_train.sh', ['gpu', 'job', CONFIG], {}, 'Usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR'),
    ('slurm_train.sh', ['gpu', 'job', 'no.py', 'out'], {}, 'there is no config no.py'),
    ('slurm_train.sh', ['gpu', 'job', CONFIG, 'out'], dict(GPUS='x'), "numbers from 1 on, got 'x'"),
    ('slurm_train.sh', ['gpu', 'job', CONFIG, 'out'], dict(GPUS='12'), 'GPUS=12 is no multiple of GPUS_PER_NODE=8'),
    ('slurm_train.sh', ['gpu', 'job', CONFIG, 'out'], dict(PATH='/usr/bin:/bin'), 'there is no srun here'),
    ('slurm_test.sh', ['gpu', 'job', CONFIG, 'no.pth'], {}, 'there is no checkpoint no.pth'),
])
def test_wrong_calls(script, arguments, variables, message):
    done = call(script, *arguments, **variables)
    assert done.returncode == 2 and message in done.stderr and not done.stdout


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


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def start(config, work_dir, root, *flags, options=(), **variables):
    """dist_train.sh with two processes, its output in a file."""
    command = ['tools/dist_train.sh', config, '2', '--work-dir', work_dir, *flags, '--cfg-options', *SMALLER, *options]
    variables = environment(SYNTHETIC_NUSCENES_ROOT=str(root), PORT=free_port(), **variables)
    with open(f'{work_dir}.log', 'w') as log:
        return subprocess.Popen(list(map(str, command)), cwd=ROOT, env=variables, stdout=log, stderr=subprocess.STDOUT,
                                stdin=subprocess.DEVNULL)


def wait_for(condition, process, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < end, 'ended, or took too long'
        time.sleep(0.1)


def workers(process):
    """The training processes, by rank."""
    found = {}
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if 'tools/train.py' in ' '.join(child.cmdline()):
                found[int(child.environ()['RANK'])] = child
        except (psutil.Error, KeyError):
            pass
    return found


@pytest.mark.slow
@pytest.mark.parametrize('rank', [0, 1])
def test_a_killed_worker_is_started_again_from_the_last_checkpoint(rank, data_root, tmp_path):  # noqa: F811
    work_dir = tmp_path / 'train'
    process = start(CONFIG, work_dir, data_root, '--resume', options=['train_cfg.max_epochs=4'], MAX_RESTARTS='3')
    try:
        wait_for((work_dir / 'epoch_2.pth').is_file, process)
        workers(process)[rank].send_signal(signal.SIGKILL)
        assert process.wait(600) == 0, Path(f'{work_dir}.log').read_text()[-4000:]
    finally:
        process.kill()
    log = Path(f'{work_dir}.log').read_text()
    assert 'There is no GPU: processes talk through gloo' in log
    assert 'resumed epoch: ' in log and 'Epoch(train) [4][2/2]' in log
    assert log.count('Epoch(train) [1][2/2]') == 1  # not from the start
    assert (work_dir / 'epoch_4.pth').is_file()


@pytest.mark.slow
def test_fsdp_from_the_command_line(data_root, tmp_path):  # noqa: F811
    """Trains, resumes from its checkpoint, and that is tested by one process without FSDP."""
    work_dir = tmp_path / 'train'
    for epochs in (1, 2):
        process = start(FSDP, work_dir, data_root, '--resume', options=[f'train_cfg.max_epochs={epochs}'])
        assert process.wait(600) == 0, Path(f'{work_dir}.log').read_text()[-4000:]
    log = Path(f'{work_dir}.log').read_text()
    assert 'Epoch(train) [2][2/2]' in log and 'Epoch(train) [1]' not in log
    done = subprocess.run(
        [sys.executable, 'tools/test.py', str(CONFIG), str(work_dir / 'epoch_2.pth'), '--work-dir', str(tmp_path),
         '--cfg-options', *SMALLER], cwd=ROOT, capture_output=True, text=True,
        env=environment(SYNTHETIC_NUSCENES_ROOT=str(data_root)))
    assert done.returncode == 0 and 'NDS:' in done.stdout, done.stderr[-3000:]
