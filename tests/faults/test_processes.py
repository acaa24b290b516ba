"""Processes that do not find each other, are not alike, die or stand still: all stop, and say why."""
import argparse
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_rank
from mmengine.registry import STRATEGIES

from scene_qformer.datasets import JointBatchSampler
from scene_qformer.engine import ProcessGroupError, ShardedStrategy, ZeroStrategy, join_processes, process_group
from scene_qformer.engine.command_line import load_config, make_parser
from scene_qformer.engine.process_group import LAUNCHERS, check_environment
from scene_qformer.engine.process_settings import compare_settings
from scene_qformer.joint_batch import joint_normalizer
from tests.engine.test_sharded_strategy import train_adapter
from tests.evaluation.test_every_sample_once import score
from tests.processes import free_port, run_processes
from tests.tools.test_launch_scripts import CONFIG, call, environment, start
from tests.tools.test_train_and_test import ROOT, SMALLER, data_root  # noqa: F401  (a fixture)

AREA = 'Processes'
COMPLETE = dict(
    pytorch=dict(RANK='1', WORLD_SIZE='2', LOCAL_RANK='1', MASTER_ADDR='127.0.0.1', MASTER_PORT='29500'),
    slurm=dict(SLURM_PROCID='1', SLURM_NTASKS='2', SLURM_LOCALID='0', SLURM_NODELIST='node[1-2]',
               MASTER_ADDR='127.0.0.1'),
    mpi=dict(OMPI_COMM_WORLD_RANK='1', OMPI_COMM_WORLD_SIZE='2', OMPI_COMM_WORLD_LOCAL_RANK='1',
             MASTER_ADDR='127.0.0.1'))
STRATEGY_FILES = ROOT / 'configs/_base_/strategies'


def stops(call, *arguments, match):
    with pytest.raises(ProcessGroupError, match=match) as error:
        call(*arguments)
    return str(error.value)


@pytest.mark.fault(
    area=AREA, fault='a variable of the launcher is not set', expected='said which, and how the launcher is started',
    remedy='Start by the script of that launcher, or leave --launcher out.')
@pytest.mark.parametrize('launcher, missing', [
    (name, variable) for name, launcher in LAUNCHERS.items() for variable in launcher.variables])
@pytest.mark.parametrize('how', ['absent', 'empty'])
def test_missing_variables(launcher, missing, how, show):
    variables = dict(COMPLETE[launcher])
    check_environment(launcher, variables)
    variables.pop(missing)
    if how == 'empty':
        variables[missing] = ''
    show(stops(check_environment, launcher, variables, match=f'{missing} is not set: start it by'))


@pytest.mark.fault(
    area=AREA, fault='a rank or number of processes is no whole number', expected='said which',
    remedy='Leave these variables to the launcher.')
@pytest.mark.parametrize('launcher', LAUNCHERS)
@pytest.mark.parametrize('which', ['rank', 'world_size', 'local_rank'])
@pytest.mark.parametrize('value', ['one', '-1', '1.5', '1 2', '0x1'])
def test_no_numbers(launcher, which, value, show):
    name = getattr(LAUNCHERS[launcher], which)
    show(stops(check_environment, launcher, {**COMPLETE[launcher], name: value},
               match=re.escape(f'Expected whole numbers in the environment, got {name}={value!r}')))


@pytest.mark.fault(
    area=AREA, fault='a rank beyond the number of processes', expected='said, with both',
    remedy='Ranks count from 0; leave them to the launcher.')
@pytest.mark.parametrize('launcher', LAUNCHERS)
@pytest.mark.parametrize('rank, world_size', [(2, 2), (1, 1), (8, 3), (0, 0)])
def test_rank_too_large(launcher, rank, world_size, show):
    known = LAUNCHERS[launcher]
    variables = {**COMPLETE[launcher], known.rank: str(rank), known.world_size: str(world_size)}
    show(stops(check_environment, launcher, variables, match=f'{known.rank}={rank} is not below'))


@pytest.mark.fault(
    area=AREA, fault='more processes on a machine than it has GPUs', expected='said, with both numbers',
    remedy='Start as many processes on each machine as it has GPUs.')
@pytest.mark.parametrize('launcher', LAUNCHERS)
def test_too_few_gpus(launcher, monkeypatch, show):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    known = LAUNCHERS[launcher]
    variables = {**COMPLETE[launcher], known.world_size: '8', known.local_rank: '1'}
    check_environment(launcher, variables)
    show(stops(check_environment, launcher, {**variables, known.local_rank: '2'}, match='2 has no GPU'))


@pytest.mark.fault(
    area=AREA, fault='several processes on a machine without a GPU', expected='said; they work on the CPU',
    remedy='None is needed. Where there should be a GPU, see what nvidia-smi says, and whether torch is built for it.')
def test_no_gpu(capsys, monkeypatch, show):
    monkeypatch.delenv('RANK', raising=False)
    settings = dict(backend='nccl')
    process_group._choose_cpu(Config(), settings)
    said = capsys.readouterr().err
    assert 'gloo instead of nccl' in said and settings['backend'] == 'gloo'
    show(said)


@pytest.mark.fault(
    area=AREA, fault='srun on a machine without scontrol', expected='said', remedy='export MASTER_ADDR=<first machine>')
def test_no_scontrol(tmp_path, monkeypatch, show):
    monkeypatch.setenv('PATH', str(tmp_path))
    variables = dict(COMPLETE['slurm'])
    check_environment('slurm', variables)
    variables.pop('MASTER_ADDR')
    show(stops(check_environment, 'slurm', variables, match='there is no scontrol here: set MASTER_ADDR'))


@pytest.mark.fault(
    area=AREA, fault='a config that is not there', expected='said, before anything is started',
    remedy='Correct the path of the config.')
def test_no_such_config(capsys, show):
    with pytest.raises(SystemExit):
        make_parser('').parse_args(['configs/no.py'])
    said = capsys.readouterr().err.splitlines()[-1]
    assert 'There is no config configs/no.py' in said
    show(said.partition('error: ')[2])


@pytest.mark.fault(
    area=AREA, fault='torchrun without --launcher', expected='said, before each process trains by itself',
    remedy='Add --launcher pytorch.')
@pytest.mark.parametrize('rank', ['0', '1'])
def test_forgotten_launcher(rank, monkeypatch, show):
    for name, value in {**COMPLETE['pytorch'], 'RANK': rank}.items():
        monkeypatch.setenv(name, value)
    show(stops(join_processes, Config(dict(launcher='none')), match='--launcher is none: each would train by itself'))


@pytest.mark.fault(
    area=AREA, fault='FSDP or DeepSpeed without --launcher', expected='said, with the way to start it',
    remedy='Start by tools/dist_train.sh.')
@pytest.mark.parametrize('name', ['fsdp', 'deepspeed_zero2'])
def test_strategy_without_launcher(name, show):
    cfg = Config(dict(launcher='none', strategy=Config.fromfile(STRATEGY_FILES / f'{name}.py').strategy))
    show(stops(join_processes, cfg, match='spreads a model over processes, and --launcher is none'))


@pytest.mark.fault(
    area=AREA, fault='a tool for one process is started as several', expected='refused before anything is written',
    remedy='Start it with python, without torchrun or srun.')
@pytest.mark.parametrize('tool', ['extract_tokens', 'ask', 'browse_dataset', 'initialize_checkpoint',
                                  'visualize_attention', 'visualize_predictions'])
@pytest.mark.parametrize('how', ['torchrun', '--launcher'])
def test_tools_for_one_process(tool, how, monkeypatch, show):
    monkeypatch.setattr('sys.argv', [f'/somewhere/tools/{tool}.py'])
    if how == 'torchrun':
        monkeypatch.setenv('WORLD_SIZE', '2')
    args = argparse.Namespace(config='never read', launcher='none' if how == 'torchrun' else 'slurm')
    show(stops(load_config, args, match=f'tools/{tool}.py works in one process'))
    assert 'load_config(args)' in (ROOT / f'tools/{tool}.py').read_text()


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


@pytest.mark.fault(
    area=AREA, fault='checkpoints of FSDP in pieces are asked for', expected='refused',
    remedy="Leave strategy.state_dict_cfg='full'.")
@pytest.mark.parametrize('given', ['local', 'sharded', None])
def test_checkpoints_in_pieces(given, show):
    with pytest.raises(ValueError, match='writes whole checkpoints') as error:
        ShardedStrategy(state_dict_cfg=given)
    show(str(error.value))


def build_sharded(work_dir, options):
    try:
        train_adapter('fsdp', work_dir, options)
    except ValueError as error:
        return str(error)


@pytest.mark.fault(
    area=AREA, fault='gradients are to be clipped, or losses scaled, in a way that FSDP does not know',
    expected='refused', remedy='Correct optim_wrapper in the config, as the message says.')
@pytest.mark.parametrize(('options', 'message'), [
    (dict(clip_grad=dict(max_norm=1, error_if_nonfinite=False)), 'got error_if_nonfinite, too'),
    (dict(type='AmpOptimWrapper', use_fsdp=False), 'AmpOptimWrapper needs use_fsdp=True')], ids=['clip', 'scaler'])
def test_settings_that_fsdp_does_not_know(options, message, tmp_path, show):
    said = run_processes(2, build_sharded, str(tmp_path), options)
    assert said[0] == said[1] and message in said[0]
    show(said[0])


def build_muon(work_dir):
    strategy = ShardedStrategy(work_dir=work_dir)
    try:
        strategy.prepare(torch.nn.Linear(3, 5), optim_wrapper=dict(
            type='OptimWrapper', constructor='MuonOptimWrapperConstructor', optimizer=dict(type='MuonAdamW', lr=1e-3)))
    except ValueError as error:
        return str(error)


@pytest.mark.fault(
    area=AREA, fault='an optimizer that needs whole matrices, under FSDP', expected='refused',
    remedy='Take AdamW, or train without `strategy`.')
def test_muon_in_pieces(tmp_path, show):
    said = run_processes(2, build_muon, str(tmp_path))
    assert said[0] == said[1] and said[0].startswith('MuonAdamW needs whole matrices')
    show(said[0])


@pytest.mark.fault(
    area=AREA, fault='DeepSpeed is not installed', expected='said', remedy='pip install deepspeed, or take fsdp.py.')
def test_no_deepspeed(show):
    pytest.importorskip('mmengine._strategy.deepspeed')
    if 'deepspeed' in sys.modules:
        pytest.skip('DeepSpeed is installed here')
    with pytest.raises(AssertionError, match='DeepSpeed is not installed') as error:
        STRATEGIES.build(Config.fromfile(STRATEGY_FILES / 'deepspeed_zero2.py').strategy)
    show(str(error.value))


@pytest.mark.fault(
    area=AREA, fault='stage 3 of DeepSpeed is to begin from the weights in a file', expected='refused',
    remedy='Begin with zero_optimization.stage=2.')
def test_whole_weights_for_pieces(tmp_path, show):
    (tmp_path / 'stage_1.pth').write_bytes(b'never read')
    strategy = ZeroStrategy.__new__(ZeroStrategy)
    strategy.model = SimpleNamespace(model=SimpleNamespace(zero_optimization_partition_weights=lambda: True))
    with pytest.raises(ValueError, match='holds whole weights, and in stage 3 of ZeRO') as error:
        strategy.load_checkpoint(str(tmp_path / 'stage_1.pth'))
    show(str(error.value))


@pytest.mark.fault(
    area=AREA, fault='a launch script is called wrongly', expected='nothing is started; said what is wrong',
    remedy='The usage message has an example.')
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
def test_wrong_calls(script, arguments, variables, message, show):
    done = call(script, *arguments, **variables)
    assert done.returncode == 2 and message in done.stderr and not done.stdout
    show(done.stderr.splitlines()[0])


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
