"""Processes that train or test together find each other, or say what keeps them from it."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.dist import init_dist, is_distributed
from mmengine.utils.dl_utils import set_multi_processing
from torch import distributed

from .attempt import agree_on_attempt
from .process_settings import ProcessGroupError, compare_settings, settings_of


class Launcher(NamedTuple):
    """What a launcher tells its processes, and how it is started."""

    rank: str  # the variables
    world_size: str
    local_rank: str
    others: tuple[str, ...]
    remedy: str

    @property
    def variables(self) -> tuple[str, ...]:
        """All that must be set."""
        return self.rank, self.world_size, self.local_rank, *self.others


LAUNCHERS = dict(
    pytorch=Launcher(
        'RANK', 'WORLD_SIZE', 'LOCAL_RANK', ('MASTER_ADDR', 'MASTER_PORT'),
        'start it by tools/dist_train.sh, or by `torchrun --nproc_per_node N tools/train.py ... --launcher pytorch`'),
    slurm=Launcher(
        'SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID', ('SLURM_NODELIST', ),
        'start it by tools/slurm_train.sh, or in an allocation by `srun python tools/train.py ... --launcher slurm`'),
    mpi=Launcher(
        'OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK', ('MASTER_ADDR', ),
        'start it by `mpirun -x MASTER_ADDR=<first machine> python tools/train.py ... --launcher mpi`'))
TIMEOUT = 1800  # seconds, mmengine's own


def join_processes(cfg: Config) -> None:
    """Join the process group that ``--launcher`` names, before mmengine's runner would.

    Does what mmengine does, and beyond that: says which variables are missing, takes gloo where there is no GPU (and
    says so), stops with an explanation after ``env_cfg.dist_cfg.timeout`` seconds if some process does not come, and
    compares the configs of all processes. Without a launcher it only makes sure that none was forgotten.

    Args:
        cfg: With ``launcher`` and ``env_cfg``; on a CPU, the backend in it becomes gloo, and the model's wrapper one
            without a GPU.

    Raises:
        ProcessGroupError: If the processes cannot work together.
    """
    if cfg.launcher == 'none':
        _refuse_forgotten_launcher(cfg)
        return
    check_environment(cfg.launcher, os.environ)
    settings = cfg.setdefault('env_cfg', {}).setdefault('dist_cfg', dict(backend='nccl'))
    has_gpu = torch.cuda.is_available()
    if not has_gpu:
        _choose_cpu(cfg, settings)
    set_multi_processing(**cfg.env_cfg.get('mp_cfg', {}), distributed=True)
    if not is_distributed():
        try:
            meeting_place = _store_of_this_attempt(cfg.launcher, settings)
            if has_gpu:
                init_dist(cfg.launcher, **settings, **meeting_place)
            else:
                _init_without_gpu(cfg.launcher, {**settings, **meeting_place})
        except (RuntimeError, ValueError) as error:  # torch's own: DistStoreError, DistNetworkError ...
            raise ProcessGroupError(_nobody_there(settings, error)) from error
    compare_settings(settings_of(cfg))


def check_environment(launcher: str, environment: Mapping[str, str]) -> None:
    """The variables of a launcher are there and make sense.

    Raises:
        ProcessGroupError: Names those that do not.
    """
    known = LAUNCHERS[launcher]
    missing = [name for name in known.variables if not environment.get(name)]
    if missing:
        raise ProcessGroupError(f'--launcher {launcher} reads {", ".join(known.variables)} from the environment, and '
                                f'{", ".join(missing)} {"is" if len(missing) == 1 else "are"} not set: {known.remedy}. '
                                'For one process leave --launcher out.')
    numbers = {name: environment[name] for name in (known.rank, known.world_size, known.local_rank)}
    wrong = [f'{name}={value!r}' for name, value in numbers.items() if not value.isdecimal()]
    if wrong:
        raise ProcessGroupError(f'Expected whole numbers in the environment, got {", ".join(wrong)}: {known.remedy}.')
    rank, world_size, local_rank = map(int, numbers.values())
    if rank >= world_size:
        raise ProcessGroupError(f'{known.rank}={rank} is not below {known.world_size}={world_size}, but ranks count '
                                f'from 0: {known.remedy}.')
    if launcher == 'slurm' and not environment.get('MASTER_ADDR') and shutil.which('scontrol') is None:
        raise ProcessGroupError('--launcher slurm asks scontrol for the name of the first machine, and there is no '
                                'scontrol here: set MASTER_ADDR to that name.')
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else local_rank + 1
    if local_rank >= num_gpus:
        raise ProcessGroupError(f'{known.local_rank}={local_rank} has no GPU, this machine has {num_gpus}: start no '
                                'more processes a machine than it has GPUs.')


def refuse_several_processes(tool: str, launcher: str) -> None:
    """For tools that work alone.

    Args:
        tool: Its name, for the message.
        launcher: What ``--launcher`` says.

    Raises:
        ProcessGroupError: If this is to be one of several processes.
    """
    if launcher != 'none' or int(os.environ.get('WORLD_SIZE') or 1) > 1:
        raise ProcessGroupError(f'{tool} works in one process: several would all do the same, into the same place. '
                                f'Start it without torchrun, srun and --launcher: python {tool} ...')


def _refuse_forgotten_launcher(cfg: Config) -> None:
    if cfg.get('strategy'):
        raise ProcessGroupError(f'strategy={cfg.strategy.type} spreads a model over processes, and --launcher is none: '
                                f'{LAUNCHERS["pytorch"].remedy}; or take the config without `strategy`.')
    if int(os.environ.get('WORLD_SIZE') or 1) > 1 and os.environ.get('RANK'):
        raise ProcessGroupError(f'This is process {os.environ["RANK"]} of WORLD_SIZE={os.environ["WORLD_SIZE"]}, but '
                                '--launcher is none: each would train by itself, into the same work directory. Add '
                                '--launcher pytorch, or start without torchrun.')


def _choose_cpu(cfg: Config, settings: dict) -> None:
    """gloo, and no GPU in the model's wrapper."""
    if settings.get('backend', 'nccl') != 'gloo':
        if int(os.environ.get('RANK') or os.environ.get('SLURM_PROCID') or 0) == 0:
            print(f'There is no GPU: processes talk through gloo instead of {settings.get("backend", "nccl")}.',
                  file=sys.stderr, flush=True)
        settings['backend'] = 'gloo'
    if not cfg.get('strategy'):
        wrapper = cfg.get('model_wrapper_cfg') or dict(
            type='MMDistributedDataParallel', broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False))
        cfg.model_wrapper_cfg = {**wrapper, 'device_ids': None}


def _init_without_gpu(launcher: str, settings: Mapping[str, Any]) -> None:
    """As mmengine's ``init_dist``, which begins with choosing a GPU."""
    known = LAUNCHERS[launcher]
    for name, source in dict(RANK=known.rank, WORLD_SIZE=known.world_size, LOCAL_RANK=known.local_rank).items():
        os.environ[name] = os.environ[source]
    if launcher == 'slurm' and not os.environ.get('MASTER_ADDR'):
        nodes = subprocess.run(['scontrol', 'show', 'hostnames', os.environ['SLURM_NODELIST']], capture_output=True,
                               text=True, check=True)
        os.environ['MASTER_ADDR'] = nodes.stdout.split()[0]
    os.environ.setdefault('MASTER_PORT', str(settings.get('port') or 29500))  # torch's default
    others = {name: value for name, value in settings.items() if name not in ('backend', 'timeout', 'port')}
    distributed.init_process_group('gloo', timeout=timedelta(seconds=settings.get('timeout') or TIMEOUT), **others)


def _store_of_this_attempt(launcher: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Where the processes meet that torchrun has started together: in a part of its store that no others have used."""
    environment = os.environ
    if launcher != 'pytorch' or environment.get('TORCHELASTIC_USE_AGENT_STORE') != 'True':
        return {}
    rank, world_size = int(environment['RANK']), int(environment['WORLD_SIZE'])
    seconds = settings.get('timeout') or TIMEOUT
    store = distributed.TCPStore(environment['MASTER_ADDR'], int(environment['MASTER_PORT']), world_size,
                                 is_master=False, wait_for_workers=False, timeout=timedelta(seconds=seconds))
    store = distributed.PrefixStore('scene_qformer', store)
    attempt = agree_on_attempt(store, rank, world_size, seconds)
    return dict(store=distributed.PrefixStore(attempt, store), rank=rank, world_size=world_size)


def _nobody_there(settings: Mapping[str, Any], error: Exception) -> str:
    here = {name: os.environ.get(name) for name in LAUNCHERS['pytorch'].variables}
    seconds = settings.get('timeout') or TIMEOUT
    return (f'The processes did not find each other within env_cfg.dist_cfg.timeout={seconds} s. This '
            f'is rank {here["RANK"]} of {here["WORLD_SIZE"]}, and it looked at {here["MASTER_ADDR"]}:'
            f'{here["MASTER_PORT"]}. Were as many started as WORLD_SIZE says, do all have the same address, and is the '
            f'port open and free? ({str(error).splitlines()[0]})')
