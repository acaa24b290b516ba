"""Processes that were started anew in a store that others have used before them."""
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from torch import distributed

from scene_qformer.engine.attempt import agree_on_attempt
from tests.processes import free_port

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store():
    store = distributed.HashStore()
    store.set_timeout(timedelta(seconds=30))
    return store


def attempts(store, order, pause=0., seconds=30.):
    """What each rank gets, when they come one after the other."""
    with ThreadPoolExecutor(len(order)) as pool:
        coming = {}
        for rank in order:
            coming[rank] = pool.submit(agree_on_attempt, store, rank, len(order), seconds)
            time.sleep(pause)
        return {rank: attempt.result() for rank, attempt in coming.items()}


@pytest.mark.parametrize('order', [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_every_attempt_is_one_of_its_own(store, order):
    """Also where the others come long before process 0, and find all that those before them have left."""
    found = [attempts(store, order, pause=0.5) for _ in range(3)]
    assert all(len(set(attempt.values())) == 1 for attempt in found)
    assert len({attempt[0] for attempt in found}) == 3


def test_alone(store):
    assert agree_on_attempt(store, 0, 1, 1.) != agree_on_attempt(store, 0, 1, 1.)


def test_process_0_died_while_it_waited(store):
    with pytest.raises(RuntimeError):
        agree_on_attempt(store, 0, 3, 0.1)
    assert len(set(attempts(store, (2, 1, 0), pause=0.5).values())) == 1


def test_another_died_while_it_waited(store):
    """Process 0 has yet to meet the one that takes its place, and not the dead one."""
    first = threading.Thread(target=lambda: pytest.raises(RuntimeError, agree_on_attempt, store, 2, 3, 1.))
    with ThreadPoolExecutor(2) as pool:
        others = [pool.submit(agree_on_attempt, store, 0, 3, 30.)]
        first.start()
        first.join()
        others.append(pool.submit(agree_on_attempt, store, 2, 3, 30.))
        time.sleep(1)
        attempt = agree_on_attempt(store, 1, 3, 30.)
        assert [other.result() for other in others] == [attempt, attempt]


def test_those_that_do_not_come_are_said(store):
    with pytest.raises(RuntimeError, match='process 0 did not come'):
        agree_on_attempt(store, 1, 2, 0.5)
    agree_on_attempt(store, 0, 1, 1.)
    with pytest.raises(RuntimeError, match='not all processes came'):
        agree_on_attempt(store, 1, 2, 0.5)


SCRIPT = '''
import os, pathlib, signal, sys, torch
from mmengine.config import Config
from torch import distributed
from scene_qformer.engine.process_group import join_processes
join_processes(Config(dict(launcher='pytorch', env_cfg=dict(dist_cfg=dict(backend='gloo', timeout=60)))))
died, killed = pathlib.Path(sys.argv[1]), int(sys.argv[2])
number = torch.ones(1)
for _ in range(3):
    distributed.all_reduce(number)
    if distributed.get_rank() == killed and not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
print(f'process {distributed.get_rank()} has {number.item():.0f}', flush=True)
'''


@pytest.mark.parametrize(('rendezvous', 'killed'), [
    ('c10d', 1), *(pytest.param(*case, marks=pytest.mark.slow) for case in [('c10d', 0), ('static', 0), ('static', 1)]),
])
def test_two_machines_start_anew(rendezvous, killed, tmp_path):
    """Two torchruns, one a machine. PyTorch alone hangs where one process reads the old address of the other.

    Of torchrun it waits for the processes alone: when these have ended, one of two may wait for the other for another
    five minutes (its exit barrier, with c10d, after a restart on a busy machine).
    """
    (tmp_path / 'script.py').write_text(SCRIPT)
    port = free_port()
    machines, logs = [], [tmp_path / f'machine_{machine}.log' for machine in range(2)]
    for machine in range(2):
        flags = dict(
            static=['--master_addr=127.0.0.1', f'--master_port={port}', f'--node_rank={machine}'],
            c10d=['--rdzv_backend=c10d', f'--rdzv_endpoint=127.0.0.1:{port}', '--rdzv_id=test',
                  f'--rdzv_conf=is_host={machine == 0}'])[rendezvous]
        command = [sys.executable, '-m', 'torch.distributed.run', '--nnodes=2', '--nproc_per_node=1',
                   '--max_restarts=1', *flags, str(tmp_path / 'script.py'), str(tmp_path / 'died'), str(killed)]
        with open(logs[machine], 'w') as log:
            machines.append(subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT,
                                             env={**os.environ, 'OMP_NUM_THREADS': '1'}))
    said, end = '', time.monotonic() + 200
    try:
        while said.count(' has 8') < 2 and time.monotonic() < end:
            time.sleep(0.2)
            said = ''.join(log.read_text() for log in logs)
    finally:
        for machine in machines:
            machine.terminate()  # and its processes with it
        for machine in machines:
            try:
                machine.wait(10)
            except subprocess.TimeoutExpired:
                machine.kill()
                machine.wait()
    assert 'process 0 has 8' in said and 'process 1 has 8' in said, said
