"""Processes that are started wrongly: nothing begins, and it is said why."""
import argparse
import re

import pytest
import torch
from mmengine.config import Config

from scene_qformer.engine import ProcessGroupError, join_processes, process_group
from scene_qformer.engine.command_line import load_config, make_parser
from scene_qformer.engine.process_group import LAUNCHERS, check_environment
from tests.faults.test_strategies import STRATEGY_FILES
from tests.tools.test_launch_scripts import CONFIG, ROOT, call

AREA = 'Processes'
COMPLETE = dict(
    pytorch=dict(RANK='1', WORLD_SIZE='2', LOCAL_RANK='1', MASTER_ADDR='127.0.0.1', MASTER_PORT='29500'),
    slurm=dict(SLURM_PROCID='1', SLURM_NTASKS='2', SLURM_LOCALID='0', SLURM_NODELIST='node[1-2]',
               MASTER_ADDR='127.0.0.1'),
    mpi=dict(OMPI_COMM_WORLD_RANK='1', OMPI_COMM_WORLD_SIZE='2', OMPI_COMM_WORLD_LOCAL_RANK='1',
             MASTER_ADDR='127.0.0.1'))


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
    said = stops(check_environment, launcher, variables, match=f'{missing} is not set: start it by')
    if missing == LAUNCHERS[launcher].variables[0]:
        show(said)


@pytest.mark.fault(
    area=AREA, fault='a rank or number of processes is no whole number', expected='said which',
    remedy='Leave these variables to the launcher.')
@pytest.mark.parametrize('launcher', LAUNCHERS)
@pytest.mark.parametrize('which', ['rank', 'world_size', 'local_rank'])
@pytest.mark.parametrize('value', ['one', '-1', '1.5', '1 2', '0x1'])
def test_no_numbers(launcher, which, value, show):
    name = getattr(LAUNCHERS[launcher], which)
    said = stops(check_environment, launcher, {**COMPLETE[launcher], name: value},
                 match=re.escape(f'Expected whole numbers in the environment, got {name}={value!r}'))
    if which == 'rank' and value == 'one':
        show(said)


@pytest.mark.fault(
    area=AREA, fault='a rank beyond the number of processes', expected='said, with both',
    remedy='Ranks count from 0; leave them to the launcher.')
@pytest.mark.parametrize('launcher', LAUNCHERS)
@pytest.mark.parametrize('rank, world_size', [(2, 2), (1, 1), (8, 3), (0, 0)])
def test_rank_too_large(launcher, rank, world_size, show):
    known = LAUNCHERS[launcher]
    variables = {**COMPLETE[launcher], known.rank: str(rank), known.world_size: str(world_size)}
    said = stops(check_environment, launcher, variables, match=f'{known.rank}={rank} is not below')
    if rank == 2:
        show(said)


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
