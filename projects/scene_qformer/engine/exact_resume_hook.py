"""What mmengine's checkpoints lack to go on as if nothing had happened."""
from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop

from .seeding import seed_generators

POSITION, GRADIENTS = 'samples_done', 'accumulated_gradients'


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """A resumed training does what the uninterrupted one would have done; on a CPU, bit by bit.

    - *Random numbers*: before each step all generators (Python, numpy, torch, GPUs) are seeded by (seed, rank,
      iteration). No state has to be kept, and nothing that draws numbers between steps matters. Those of the data are
      ``ResumableSampler``'s.
    - *Position in the epoch*: kept in checkpoints and given back to :class:`ResumableEpochTrainLoop`.
    - *Gradients* that are being accumulated over several steps: kept in checkpoints, if there are any. Each process
      has its own, and the first alone writes, so with several processes a warning says that they are lost.

    Weights, optimizer, schedule and logs are kept by mmengine; scaling of losses (``AmpOptimWrapper``) with the
    optimizer.

    Raises:
        ValueError: If mmengine's own loop is to resume in the middle of an epoch, which it would begin again.
    """

    priority = 'VERY_HIGH'

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Seed the step."""
        seed_generators(runner.seed, runner.rank, runner.iter)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Add the position and unfinished gradients."""
        checkpoint[POSITION] = getattr(runner.train_loop, 'samples_done', 0)
        wrapper = runner.optim_wrapper
        # In a hook after a step, the wrapper has counted it.
        if 'optimizer' not in checkpoint or getattr(wrapper, 'should_update', lambda: True)():
            return
        if runner.world_size > 1:
            print_log('A checkpoint is written between two updates: gradients that the processes have accumulated '
                      'since the last one are not in it. Choose an interval (default_hooks.checkpoint.interval) that '
                      'optim_wrapper.accumulative_counts divides.', 'current', level=30)
            return
        checkpoint[GRADIENTS] = {name: parameter.grad.cpu() for name, parameter in _model_of(runner).named_parameters()
                                 if parameter.grad is not None}

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Give them back, if training resumes."""
        if not runner._resume:
            return
        loop = runner.train_loop
        if hasattr(loop, 'samples_done'):
            loop.samples_done = checkpoint.get(POSITION, 0)
        elif type(loop) is EpochBasedTrainLoop and checkpoint.get('meta', {}).get('iter', 0) % len(loop.dataloader):
            raise ValueError('The checkpoint was written in the middle of an epoch, which EpochBasedTrainLoop would '
                             'begin again. Set train_cfg.type=ResumableEpochTrainLoop and train_dataloader.sampler.'
                             'type=ResumableSampler, or resume from the end of an epoch.')
        parameters = dict(_model_of(runner).named_parameters())
        for name, gradient in checkpoint.get(GRADIENTS, {}).items():
            parameters[name].grad = gradient.to(parameters[name].device)


def _model_of(runner: Any) -> Any:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
