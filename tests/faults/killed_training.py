"""A small real training, in processes of its own that may be killed; it notes every step's losses, bit by bit."""
from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from scene_qformer import durable_file
from scene_qformer.engine import ExactResumeHook
from tests.processes import free_port
from tests.small_encoder import SmallEncoder
from tools import train

LONGEST = 120  # seconds of one start; it takes ten
STEPS = 12  # four epochs of six frames, two a step
STEPS_FILE = 'steps_{rank}.jsonl'


@HOOKS.register_module()
class NoteSteps(Hook):
    """Write losses, gradient norm, learning rates and samples of each step at once, as hexadecimal numbers."""

    priority = 'LOW'  # before the checkpoint of the step, during which it may be killed

    def before_train(self, runner):
        path = Path(runner.work_dir) / STEPS_FILE.format(rank=runner.rank)
        self.file = open(path, 'a', buffering=1)  # noqa: SIM115, as long as the training

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        values = {name: value.item().hex() for name, value in outputs.items()}
        norm = runner.message_hub.get_scalar('train/grad_norm').current()
        rates = sorted({float(group['lr']).hex() for group in runner.optim_wrapper.param_groups})
        frames = [int(sample.sample_idx) for sample in data_batch['data_samples']]
        step = dict(rank=runner.rank, step=runner.iter + 1, epoch=runner.epoch, batch=batch_idx, frames=frames,
                    losses=values, grad_norm=float(norm).hex(), rates=rates)
        self.file.write(json.dumps(step) + '\n')


@HOOKS.register_module()
class KeepsPositionAlone(ExactResumeHook):
    """Steps draw from where the generators happen to be."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        pass


def write_config(encoder: SmallEncoder, folder: Path, name: str, workers: int = 0, more: str = '') -> Path:
    """Augmentation, dropout, denoising, averaged weights, a validation, and checkpoints in the middle of epochs."""
    path = folder / f'{name}.py'
    path.write_text(f'''
_base_ = '{encoder.config}'
custom_imports = dict(imports=['scene_qformer', 'tests.faults.killed_training'], allow_failed_imports=False)
model = dict(decoder=dict(ffn_drop=0.1, self_attn_cfg=dict(attn_drop=0.1)), denoising=dict(num_groups=2))
train_dataloader = dict(num_workers={workers}, persistent_workers={workers > 0})
val_dataloader = dict(dataset=dict(data_root='{encoder.root}'), batch_size=3)
val_evaluator = dict(_delete_=True, type='DumpResults', out_file_path='{folder}/results.pkl')
train_cfg = dict(max_epochs=4, val_interval=2)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=5),
    dict(type='CosineAnnealingLR', begin=0, end=4, T_max=4, eta_min=1e-5, by_epoch=True, convert_to_iter_based=True)]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=2, max_keep_ckpts=2), logger=dict(interval=1))
custom_hooks = [dict(type='EMAHook'), dict(type='NoteSteps')]
{more}
''')
    return path


class Training:
    """A training in a folder, that is killed and goes on. Imports are done once, and each of its processes is a fork.

    Args:
        config: Config file.
        work_dir: Of all of its starts.
        world_size: Processes that train together, joined by gloo.
    """

    def __init__(self, config: Path, work_dir: Path, world_size: int = 1) -> None:
        self.config, self.work_dir, self.world_size = config, work_dir, world_size
        self.context = multiprocessing.get_context('forkserver')
        self.context.set_forkserver_preload([__name__])

    def start(self, before: Callable | None = None, *arguments) -> list[multiprocessing.Process]:
        """Begin, or go on; ``before(*arguments)`` is called in each process first."""
        port = free_port()
        processes = []
        for rank in range(self.world_size):
            launched = {} if self.world_size == 1 else dict(
                RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(self.world_size), MASTER_ADDR='127.0.0.1',
                MASTER_PORT=port)
            processes.append(self.context.Process(
                target=_train, args=(str(self.config), str(self.work_dir), launched, before, arguments)))
            processes[-1].start()
        return processes

    def run(self, before: Callable | None = None, *arguments) -> bool:
        """Train to the end, or to where ``before`` makes it kill itself. Whether it was killed.

        Raises:
            RuntimeError: If it ended with an error.
        """
        return self._ended(self.start(before, *arguments))

    def kill_after(self, step: int, seconds: float, rank: int = 0) -> bool:
        """SIGKILL a process some time after it has done a step, or after its start if that is 0. Whether in time.

        The others end by themselves.

        Raises:
            RuntimeError: If it ended with an error.
        """
        known = len(self.steps_of(rank))
        processes = self.start()
        killed = processes[rank]
        while step and killed.is_alive() and not any(done['step'] >= step for done in self.steps_of(rank)[known:]):
            time.sleep(0.01)
        killed.join(seconds)
        killed.kill()
        return self._ended(processes)

    def _ended(self, processes: list[multiprocessing.Process]) -> bool:
        for process in processes:
            process.join(LONGEST)
        hanging = [rank for rank, process in enumerate(processes) if process.is_alive()]
        for process in processes:
            process.kill()
            process.join()
        codes = [process.exitcode for process in processes]
        killed = -signal.SIGKILL in codes
        # the others of a killed one find it gone, and end with an error
        if hanging or any(code not in (0, -signal.SIGKILL) for code in codes) and not (killed and len(codes) > 1):
            raise RuntimeError(f'codes {codes}, hanging: {hanging}\n{self.output[-3000:]}')
        return killed

    @property
    def output(self) -> str:
        """What all of them printed."""
        path = self.work_dir / 'output.txt'
        return path.read_text(errors='replace') if path.exists() else ''

    def steps_of(self, rank: int) -> list[dict]:
        """The steps that a process noted, in the order in which they were done; a line that a kill cut is left out."""
        path = self.work_dir / STEPS_FILE.format(rank=rank)
        lines = path.read_text().split('\n')[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    @property
    def steps(self) -> list[dict]:
        """Of all processes, one after the other."""
        return [step for rank in range(self.world_size) for step in self.steps_of(rank)]

    def differences(self, whole: Training) -> list[str]:
        """Where its steps, done once or again, are not those of another training, and which it lacks."""
        expected = {(step['rank'], step['step']): step for step in whole.steps}
        found = [f'step {step["step"]}: {step} instead of {expected.get((step["rank"], step["step"]))}'
                 for step in self.steps if step != expected.get((step['rank'], step['step']))]
        lacking = expected.keys() - {(step['rank'], step['step']) for step in self.steps}
        return found + [f'steps {sorted(lacking)} are missing'] * bool(lacking)


def die_at(function: str, call: int) -> None:
    """Make this process kill itself at a call of one of the functions by which checkpoints are written.

    Args:
        function: ``'open'``, ``'write'`` (half of it is written), ``'fsync'``, ``'replace'`` (just before), or
            ``'replaced'`` (just after).
        call: Which call, from 1.
    """
    calls = 0

    def count() -> bool:
        nonlocal calls
        calls += 1
        return calls == call

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if function in ('open', 'write'):
        class HalfWritten:
            def __init__(self, file):
                self.file = file

            def __enter__(self):
                return self

            def __exit__(self, *error):
                self.file.close()

            def __getattr__(self, name):
                return getattr(self.file, name)

            def write(self, content):
                if function == 'write' and count():
                    self.file.write(content[:len(content) // 2])
                    self.file.flush()
                    die()
                return self.file.write(content)

        def opened(path, mode='r'):
            if 'w' not in mode:
                return open(path, mode)
            file = open(path, mode)  # noqa: SIM115
            if function == 'open' and count():
                die()
            return HalfWritten(file)

        durable_file.open = opened
        return
    name = 'replace' if function == 'replaced' else function
    original = getattr(os, name)

    def patched(*arguments, **keywords):
        hit = count()
        if hit and function != 'replaced':
            die()
        result = original(*arguments, **keywords)
        if hit:
            die()
        return result

    setattr(os, name, patched)


def limit_file_size(bytes_: int) -> None:
    """The kernel refuses to write more into a file, as a full disk or a quota would."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, bytes_))


def _train(config: str, work_dir: str, launched: dict[str, str], before: Callable | None, arguments: tuple) -> None:
    Path(work_dir).mkdir(parents=True, exist_ok=True)
    output = os.open(Path(work_dir) / 'output.txt', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(launched)
    sys.argv = ['train.py', config, '--work-dir', work_dir, '--resume',
                *(('--launcher', 'pytorch') if launched else ())]
    if before is not None:
        before(*arguments)
    train.main()
