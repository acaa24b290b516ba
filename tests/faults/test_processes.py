"""Processes that do not find each other, are not alike, die or stand still: all stop, and say why."""
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from mmengine.config import Config
from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_rank

from scene_qformer.datasets import JointBatchSampler
from scene_qformer.engine import ProcessGroupError, join_processes
from scene_qformer.engine.process_settings import compare_settings
from scene_qformer.joint_batch import joint_normalizer
from tests.evaluation.test_every_sample_once import score
from tests.processes import free_port, run_processes
from tests.tools.test_launch_scripts import CONFIG, environment, start
from tests.tools.test_train_and_test import ROOT, SMALLER, data_root  # noqa: F401  (a fixture)

AREA = 'Processes'


def join(port, variables, settings=None, timeout=2, then=None):
    """Join, by default on a CPU; what was said, and after how many seconds."""
    os.environ.update(dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=port, **variables.get(int(os.environ['RANK']), {})))
    cfg = Config(dict(launcher='pytorch', env_cfg=dict(dist_cfg=dict(backend='nccl', timeout=timeout)),
                      **(settings or {}).get(int(os.environ['RANK']), {})))
    began = time.monotonic()
    try:
        join_processes(cfg)
        if then is not None:
            then()
    except RuntimeError as error:  # ProcessGroupError, and gloo's own
        return f'{type(error).__name__}: {error}', time.monotonic() - began
    return '', time.monotonic() - began


def without_port(said):
    """Nor what torch said first, which has that port, too."""
    return re.sub(r'free\? \(.*\)$', 'free? (...)', re.sub(r'127\.0\.0\.1:\d+', '127.0.0.1:29500', said), flags=re.S)


@pytest.mark.fault(
    area=AREA, fault='some processes never come', expected='those that wait say so after the timeout',
    remedy='Start as many as WORLD_SIZE says; for slow machines raise env_cfg.dist_cfg.timeout (seconds).')
@pytest.mark.parametrize('started, missing', [(1, 1), (2, 1), (1, 3)])
def test_missing_processes(started, missing, show):
    world_size = str(started + missing)
    results = run_processes(started, join, free_port(), {rank: dict(WORLD_SIZE=world_size) for rank in range(started)},
                            join=False)
    for said, seconds in results:
        assert 'did not find each other within env_cfg.dist_cfg.timeout=2 s' in said and seconds < 30
        assert f'of {world_size}, and it looked at 127.0.0.1:' in said
    show(without_port(results[0][0]))


@pytest.mark.fault(
    area=AREA, fault='nobody listens at the address', expected='said after the timeout, with the address',
    remedy='MASTER_ADDR and MASTER_PORT must be those of the first machine, reachable from all.')
def test_wrong_address(show):
    (said, seconds), = run_processes(1, join, free_port(), {0: dict(WORLD_SIZE='2', RANK='1')}, join=False)
    assert 'ProcessGroupError: The processes did not find each other' in said and 'is rank 1 of 2' in said
    assert seconds < 30
    show(without_port(said))


@pytest.mark.fault(
    area=AREA, fault='processes have different settings', expected='all stop before training, with the difference',
    remedy='Give all processes the same command, and the same files on all machines.')
@pytest.mark.parametrize('first, second, message', [
    (dict(randomness=dict(seed=0)), dict(randomness=dict(seed=1)), 'randomness.seed: 0 on process 0, 1 on process 1'),
    (dict(train_dataloader=dict(batch_size=4)), dict(train_dataloader=dict(batch_size=2)),
     'train_dataloader.batch_size: 4 on process 0, 2 on process 1'),
    (dict(model=dict(type='A')), dict(model=dict(type='B')), "model.type: 'A' on process 0, 'B' on process 1"),
    (dict(resume=True), {}, 'resume: True on process 0, not set on process 1'),
    ({}, dict(load_from='a.pth'), "load_from: not set on process 0, 'a.pth' on process 1"),
    (dict(hooks=[1, 2]), dict(hooks=[2, 1]), r'hooks: \[1, 2\] on process 0, \[2, 1\] on process 1'),
])
def test_different_settings(first, second, message, show):
    results = run_processes(2, join, free_port(), {}, {0: first, 1: second}, 60, join=False)
    assert all(said == results[0][0] for said, _ in results)
    assert re.search(message, results[0][0])
    show(results[0][0])


def compare_versions():
    try:
        compare_settings({'the version of PyTorch': f'2.{get_rank()}', 'the version of Python': f'3.{11 + get_rank()}'})
    except ProcessGroupError as error:
        return str(error)


@pytest.mark.fault(
    area=AREA, fault='machines have different versions', expected='all stop before training, with the versions',
    remedy='Make the environment anew where it is older.')
def test_different_versions(show):
    said = run_processes(3, compare_versions)
    assert said[0] == said[1] == said[2] and 'PyTorch: 2.0 on process 0, 2.1 on process 1' in said[0]
    show(said[0])


def die_or_count():
    if get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # with which the test's launcher ends the others
    began = time.monotonic()
    try:
        joint_normalizer(3)
    except RuntimeError as error:
        Path(os.environ['SAID']).write_text(f'{time.monotonic() - began}\n{error}')


@pytest.mark.fault(
    area=AREA, fault='a process is killed in the middle of a step', expected='the others stop at once', kills=True,
    remedy='torchrun ends or restarts all; see MAX_RESTARTS of tools/dist_train.sh.')
def test_a_dead_process(tmp_path, monkeypatch, show):
    monkeypatch.setenv('SAID', str(tmp_path / 'said'))
    with pytest.raises(RuntimeError):
        run_processes(2, join, free_port(), {}, {}, 60, die_or_count, join=False)
    seconds, said = (tmp_path / 'said').read_text().split('\n', 1)
    assert float(seconds) < 20 and re.search('[Cc]onnection', said)
    show('RuntimeError: [...] Connection closed by peer (or: reset by peer)')  # gloo says either, with its ports


def sleep_or_count():
    if get_rank() == 1:
        time.sleep(8)
    else:
        joint_normalizer(3)


@pytest.mark.fault(
    area=AREA, fault='a process stands still', expected='the others stop after the timeout',
    remedy='Look at what that process was doing; for long pauses raise env_cfg.dist_cfg.timeout (seconds).')
def test_a_process_that_stands_still(show):
    results = run_processes(2, join, free_port(), {}, {}, 3, sleep_or_count, join=False)
    said, seconds = results[0]
    assert re.search('[Tt]imed out|[Tt]imeout', said) and seconds < 8
    show(re.sub(r'\[[^]]*\]:?\d*|\d+ms', '...', said.splitlines()[0]))


@pytest.mark.fault(
    area=AREA, fault='a sampler that deals samples out by itself, under JointBatchSampler', expected='refused',
    remedy='Set batch_sampler=None beside such a sampler.')
def test_two_dealers(show):
    with pytest.raises(TypeError, match='takes the order of a DefaultSampler, not of InfiniteSampler') as error:
        JointBatchSampler(InfiniteSampler(range(5)), 2)
    show(str(error.value))


@pytest.mark.fault(
    area=AREA, fault='a sampler that gives processes the same samples, in the test', expected='no scores, but an error',
    remedy="sampler=dict(type='DefaultSampler', shuffle=False) in val_dataloader and test_dataloader.")
@pytest.mark.parametrize('sampler', ['shuffled', 'all on each'])
@pytest.mark.parametrize('size', [5, 7, 8])
def test_samples_scored_twice(sampler, size, tmp_path, show):
    (tmp_path / 'infos.json').write_text('{"data_list": []}')
    with pytest.raises(RuntimeError, match=f'of the {size} samples, and . came twice') as error:
        run_processes(2, score, size, 2, str(tmp_path), sampler)
    show(re.search(r'ValueError: (.*drop_last=False\.)', str(error.value)).group(1))


def workers(process):
    """The training processes of a launcher, by rank."""
    found = {}
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if 'tools/train.py' in ' '.join(child.cmdline()):
                found[int(child.environ()['RANK'])] = child
        except (psutil.Error, KeyError):
            pass
    return found


def torchrun(work_dir, root, *flags, options, port):
    """As somebody who does not know the script."""
    command = [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2', '--max-restarts=3',
               f'--master-port={port}', 'tools/train.py', CONFIG, '--launcher', 'pytorch', '--work-dir', work_dir,
               *flags, '--cfg-options', *SMALLER, *options]
    with open(f'{work_dir}.log', 'w') as log:
        return subprocess.Popen(list(map(str, command)), cwd=ROOT, env=environment(SYNTHETIC_NUSCENES_ROOT=str(root)),
                                stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.fault(
    area=AREA, fault='a worker is killed in the middle of a training', kills=True,
    expected='torchrun starts all anew, and they go on from the last checkpoint',
    remedy='Start with MAX_RESTARTS=3 tools/dist_train.sh CONFIG GPUS --resume.')
@pytest.mark.parametrize('how, rank', [('torchrun', 1), ('dist_train.sh', 0)])
def test_a_killed_worker(how, rank, data_root, tmp_path, show):  # noqa: F811
    work_dir = tmp_path / 'train'
    options = ['train_cfg.max_epochs=4']
    if how == 'torchrun':
        process = torchrun(work_dir, data_root, '--resume', options=options, port=free_port())
    else:
        process = start(CONFIG, work_dir, data_root, '--resume', options=options, MAX_RESTARTS='3')
    end = time.monotonic() + 500
    try:
        while not (work_dir / 'epoch_2.pth').is_file():
            assert process.poll() is None and time.monotonic() < end, Path(f'{work_dir}.log').read_text()[-4000:]
            time.sleep(0.1)
        workers(process)[rank].kill()
        assert process.wait(500) == 0, Path(f'{work_dir}.log').read_text()[-4000:]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    log = Path(f'{work_dir}.log').read_text()
    assert 'There is no GPU: processes talk through gloo' in log
    assert 'Epoch(train) [4][2/2]' in log and (work_dir / 'epoch_4.pth').is_file()
    assert log.count('Epoch(train) [1][2/2]') == 1  # not from the start
    show(re.search(r'resumed epoch: \d+', log).group())
