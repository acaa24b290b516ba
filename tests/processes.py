"""Run a function in several processes that are joined by gloo, as torchrun would start them."""
from __future__ import annotations

import multiprocessing
import os
import socket
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes

# Forked from a server that has imported all and run nothing: a process that has computed gradients cannot fork, and to
# import everything again takes seconds.
START_METHOD = 'forkserver'
multiprocessing.get_context(START_METHOD).set_forkserver_preload(
    [f'mmdet3d.{part}' for part in ('datasets', 'engine', 'evaluation', 'models', 'structures', 'visualization')]
    + ['scene_qformer', 'transformers'])


def free_port() -> str:
    """A port of this machine that nobody listens at, for now."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def run_processes(world_size: int, function: Callable, *arguments: Any, timeout: float = 120.,
                  join: bool = True) -> list:
    """The results ``function(*arguments)`` of all ranks, in their order.

    Args:
        world_size: How many processes.
        function: A module's function.
        arguments: Handed to each process.
        timeout: Seconds, after which all are killed.
        join: Whether they are joined already; otherwise the function does it.

    Raises:
        RuntimeError: With the tracebacks of all processes that failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        context = start_processes(_run, (world_size, folder, function, arguments, os.environ.copy(), join), world_size,
                                  join=False, start_method=START_METHOD)
        end = time.monotonic() + timeout
        try:
            while not context.join(timeout=1):
                assert time.monotonic() < end, f'{function.__name__} took more than {timeout:.0f} s'
        except (ProcessRaisedException, ProcessExitedException) as error:
            # of all of them: those that wait for a process that has failed fail, too, and may be seen first
            raise RuntimeError('\n'.join(path.read_text() for path in sorted(Path(folder).glob('*.error')))) from error
        finally:
            for process in context.processes:
                if process.is_alive():
                    process.kill()
        return [torch.load(Path(folder) / f'{rank}.pt', weights_only=False) for rank in range(world_size)]


def _run(rank: int, world_size: int, folder: str, function: Callable, arguments: tuple, environment: dict,
         join: bool) -> None:
    os.environ.update(environment, RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size))
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if join:
        distributed.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=world_size,
                                       timeout=timedelta(seconds=60))
    try:
        torch.save(function(*arguments), Path(folder) / f'{rank}.pt')
        if join:
            distributed.barrier()
    except Exception:
        (Path(folder) / f'{rank}.error').write_text(f'Process {rank}:\n{traceback.format_exc()}')
        raise
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
