"""What mmengine's checkpoints lack to go on as if nothing had happened."""
from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.optim import OptimWrapperDict
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop

from ..seeding import seed_generators
from .resumable_loop import batch_size_of_all
from .runner_parts import optim_wrappers, unwrapped_model, updates_now

POSITION, WITHIN_EPOCH, ORDER_SEED = 'samples_done', 'within_epoch', 'order_seed'
GRADIENTS, LOST_GRADIENTS, COUNTS = 'accumulated_gradients', 'lost_gradients', 'accumulation_counts'


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """A resumed training does what the uninterrupted one would have done; on a CPU, bit by bit.

    - *Random numbers*: before each step all generators (Python, numpy, torch, GPUs) are seeded by (seed, rank,
      iteration). No state has to be kept, and nothing that draws numbers between steps matters. Those of the data are
      ``ResumableSampler``'s. The seed is the checkpoint's: mmengine gives it back, whatever the config says by then.
    - *Order of samples*: the sampler's seed is kept in checkpoints and given back, too. With another, as that of
      ``randomness=dict(seed=None)`` is at each start, samples of the epoch would come twice, and others never.
    - *Position in the epoch*: kept in checkpoints and given back to :class:`ResumableEpochTrainLoop`.
    - *Gradients* that are being accumulated over several steps: kept in checkpoints, if there are any. Each process
      has its own, and the first alone writes, so with several processes a warning says that they are lost: when the
      checkpoint is written, and when training goes on from it.

    Weights, optimizer, schedule and logs are kept by mmengine; scaling of losses (``AmpOptimWrapper``) with the
    optimizer.

    Raises:
        ValueError: If mmengine's own loop is to resume in the middle of an epoch, which it would begin again; or an
            epoch, under a strategy that does not hand hooks its checkpoints, as mmengine's of DeepSpeed.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._num_batches: int | None = None  # of the epoch so far; None between epochs
        self._given = False  # a checkpoint, to go on from

    def before_train(self, runner: Any) -> None:
        """Refuse to go on from an unknown position."""
        if runner._resume and runner._has_loaded and not self._given and isinstance(
                runner.train_loop, EpochBasedTrainLoop):
            strategy = type(getattr(runner, 'strategy', runner)).__name__
            raise ValueError(f'Training resumes, and {strategy} does not hand hooks the checkpoint, where the position '
                             'in the epoch and the seed of its order are kept: samples might come twice, or never. Use '
                             "strategy=dict(type='ZeroStrategy') for DeepSpeed's; or, if you know that the checkpoint "
                             'was written at the end of an epoch, default_hooks.exact_resume=None.')

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Seed the step."""
        self._num_batches = batch_idx + 1
        seed_generators(runner.seed, runner.rank, runner.iter)

    def after_train_epoch(self, runner: Any) -> None:
        """Before checkpoints of whole epochs, which hooks save now."""
        self._num_batches = None

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Add the position, the seed of the order, and unfinished gradients."""
        checkpoint[POSITION] = self._position(runner.train_loop)
        checkpoint[WITHIN_EPOCH] = self._num_batches is not None
        seed = getattr(_sampler_of(runner.train_loop), 'seed', None)
        if isinstance(seed, int):
            checkpoint[ORDER_SEED] = seed
        wrapper = runner.optim_wrapper
        if 'optimizer' not in checkpoint:
            return
        if isinstance(wrapper, OptimWrapperDict):  # of one alone, mmengine takes the iteration
            checkpoint[COUNTS] = {name: one._inner_count for name, one in wrapper.items()}
        # In a hook after a step, the wrapper has counted it.
        if all(map(updates_now, optim_wrappers(runner))):
            return
        if runner.world_size > 1:
            checkpoint[LOST_GRADIENTS] = True
            print_log('A checkpoint is written between two updates: gradients that the processes have accumulated '
                      'since the last one are not in it. Choose an interval (default_hooks.checkpoint.interval) that '
                      'optim_wrapper.accumulative_counts divides.', 'current', level=30)
            return
        parameters = unwrapped_model(runner).named_parameters()
        checkpoint[GRADIENTS] = {name: parameter.grad.cpu() for name, parameter in parameters
                                 if parameter.grad is not None}

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Give them back, if training resumes."""
        if not runner._resume:
            return
        self._given = True
        loop = runner.train_loop
        if hasattr(loop, 'samples_done') and POSITION in checkpoint:
            loop.samples_done = checkpoint[POSITION]
        elif isinstance(loop, EpochBasedTrainLoop) and POSITION not in checkpoint and not _may_end_an_epoch(checkpoint):
            raise ValueError('The checkpoint was written in the middle of an epoch, without ExactResumeHook, so where '
                             'in it is not known, and the epoch would begin again: resume from the end of an epoch; '
                             'or, if it may begin again, set default_hooks.exact_resume=None.')
        elif type(loop) is EpochBasedTrainLoop and _is_within_epoch(checkpoint, len(loop.dataloader)):
            raise ValueError('The checkpoint was written in the middle of an epoch, which EpochBasedTrainLoop would '
                             'begin again. Set train_cfg.type=ResumableEpochTrainLoop and train_dataloader.sampler.'
                             'type=ResumableSampler, or resume from the end of an epoch.')
        if ORDER_SEED in checkpoint:
            _give_seed_back(runner, checkpoint[ORDER_SEED])
        if checkpoint.get(LOST_GRADIENTS):
            print_log('The checkpoint was written between two updates, by several processes: the gradients that they '
                      'had accumulated are not in it, so the first update lacks them, and is not what it would have '
                      'been.', 'current', level=30)
        parameters = dict(unwrapped_model(runner).named_parameters())
        for name, gradient in checkpoint.get(GRADIENTS, {}).items():
            parameters[name].grad = gradient.to(parameters[name].device)
        if isinstance(runner.optim_wrapper, OptimWrapperDict):
            for name, count in checkpoint.get(COUNTS, {}).items():
                runner.optim_wrapper[name]._inner_count = count

    def _position(self, loop: Any) -> int:
        """Samples of the epoch that all processes have had."""
        if hasattr(loop, 'samples_done'):
            return loop.samples_done
        if self._num_batches is None or not isinstance(loop, EpochBasedTrainLoop):
            return 0
        batches = loop.dataloader.batch_sampler  # mmengine's loop does not count; another may go on from here
        sizes = batches.joint_batches() if hasattr(batches, 'joint_batches') else [
            batch_size_of_all(loop.dataloader)] * self._num_batches
        return min(sum(sizes[:self._num_batches]), len(loop.dataloader.dataset))


def _is_within_epoch(checkpoint: dict, num_steps: int) -> bool:
    """Whether an epoch was under way; ``num_steps`` are those of an epoch now."""
    if WITHIN_EPOCH in checkpoint:
        return checkpoint[WITHIN_EPOCH]
    # An older checkpoint. If epochs had another number of steps then, it cannot be told.
    meta = checkpoint.get('meta', {})
    return 0 < meta.get('iter', 0) - meta.get('epoch', 0) * num_steps <= num_steps


def _may_end_an_epoch(checkpoint: dict) -> bool:
    """Whether so many steps can be so many epochs, each of equally many."""
    epoch, steps = (checkpoint.get('meta', {}).get(name, 0) for name in ('epoch', 'iter'))
    return steps % epoch == 0 if epoch else steps == 0


def _sampler_of(loop: Any) -> Any:
    """What orders the samples; torch gives a loader with a batch sampler another one beside, which nobody asks."""
    loader = getattr(loop, 'dataloader', None)
    return getattr(getattr(loader, 'batch_sampler', None), 'sampler', getattr(loader, 'sampler', None))


def _give_seed_back(runner: Any, seed: int) -> None:
    loop, sampler = runner.train_loop, _sampler_of(runner.train_loop)
    if getattr(sampler, 'seed', seed) == seed:
        return
    randomness = getattr(runner, '_randomness_cfg', None) or getattr(
        getattr(runner, 'strategy', None), '_randomness', None) or {}
    if randomness.get('seed') is not None:
        print_log(f'The order of samples goes on with the seed of the checkpoint, {seed}. That of the config, '
                  f'{sampler.seed}, would show some samples of the epoch twice, and others never; it takes a training '
                  'that begins anew.', 'current', level=30)
    sampler.seed = seed
    if hasattr(sampler, '_indices_of_rank'):  # of mmengine's InfiniteSampler, begun with the other seed
        sampler.indices = sampler._indices_of_rank()
    if hasattr(loop, 'dataloader_iterator'):  # of IterBasedTrainLoop, whose workers have begun as well
        loop.dataloader_iterator = type(loop.dataloader_iterator)(loop.dataloader)
