"""Say so when a loss jumps."""
from __future__ import annotations

import logging
from collections import deque
from statistics import median
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS

_STATE = 'loss_spikes'  # in checkpoints
_TO_DEVIATION = 1.4826  # median absolute deviation to standard deviation, of normal numbers


@HOOKS.register_module()
class LossSpikeHook(Hook):
    """Warns of a step whose loss is far above those of the steps before it: often a broken sample, or too high a rate.

    Far is ``deviations`` times their spread above their median, and ``factor`` times the median. The spread is the
    median absolute deviation, which spikes do not widen. Spikes are not among the losses that later ones are compared
    with, unless there are so many that they are no spikes: then the window starts anew. With several processes the mean
    of their losses is looked at, and each tells its parts and samples.

    Args:
        window: How many steps are looked back.
        deviations: See above.
        factor: See above.
        quiet: After a warning, so many steps pass without another; spikes in them are counted.
    """

    priority = 'BELOW_NORMAL'  # the losses are in the message hub by then

    def __init__(self, window: int = 200, deviations: float = 10., factor: float = 2., quiet: int = 20) -> None:
        if window < 10 or deviations <= 0 or factor < 1 or quiet < 0:
            raise ValueError('LossSpikeHook: expected window of at least 10 steps, deviations above 0, factor of at '
                             f'least 1 and quiet of at least 0, got {window}, {deviations}, {factor}, {quiet}.')
        self.window, self.deviations, self.factor, self.quiet = window, deviations, factor, quiet
        self.losses: deque[float] = deque(maxlen=window)
        self.spikes = self.in_a_row = 0
        self._silent_until = 0

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Compare this step's loss."""
        scalars = runner.message_hub.log_scalars
        if 'train/loss' not in scalars:
            return
        loss = _joint_mean(scalars['train/loss'].current())
        if not self._is_spike(loss):
            self.losses.append(loss)
            self.in_a_row = 0
            return
        self.spikes += 1
        self.in_a_row += 1
        usual = median(self.losses)
        if self.in_a_row > self.window // 4:
            print_log(f'Iteration {runner.iter + 1}: the last {self.in_a_row} losses were all far above {usual:.4g}, '
                      'the median before: this is no spike, the training has got worse.', 'current', logging.WARNING)
            self.losses.clear()
            self.in_a_row = 0
        elif runner.iter >= self._silent_until:
            self._silent_until = runner.iter + self.quiet
            print_log(f'Iteration {runner.iter + 1}: {self._describe(runner, loss, usual, data_batch)}', 'current',
                      logging.WARNING)

    def after_train(self, runner: Any) -> None:
        """Say how many there were."""
        if self.spikes:
            print_log(f'Losses far above those of the {self.window} steps before: {self.spikes}.', 'current',
                      logging.WARNING)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Keep what losses are compared with."""
        checkpoint[_STATE] = dict(losses=list(self.losses), spikes=self.spikes, in_a_row=self.in_a_row)

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Go on, if training resumes."""
        if runner._resume and _STATE in checkpoint:
            state = checkpoint[_STATE]
            self.losses = deque(state['losses'], maxlen=self.window)
            self.spikes, self.in_a_row = state['spikes'], state['in_a_row']

    def _is_spike(self, loss: float) -> bool:
        if len(self.losses) < self.window // 2:
            return False
        usual = median(self.losses)
        spread = _TO_DEVIATION * median(abs(each - usual) for each in self.losses)
        return not loss <= max(usual + self.deviations * spread, self.factor * abs(usual))  # NaN is one, too

    @staticmethod
    def _describe(runner: Any, loss: float, usual: float, data_batch: Any) -> str:
        scalars = {name.removeprefix('train/'): buffer for name, buffer in runner.message_hub.log_scalars.items()
                   if name.startswith('train/')}

        def rise(name: str) -> float:
            return scalars[name].current() / max(scalars[name].mean(50), 1e-12)

        parts = sorted((name for name in scalars if 'loss' in name and name != 'loss'), key=rise, reverse=True)
        told = [f'{name} {scalars[name].current():.4g} ({rise(name):.1f} times its mean)' for name in parts[:3]]
        told += [f'{name} {scalars[name].current():.3g}' for name in ('lr', 'grad_norm') if name in scalars]
        samples = data_batch.get('data_samples') or [] if isinstance(data_batch, dict) else []
        tokens = [str(sample.metainfo.get('sample_token', '?')) for sample in samples]
        shares = all_gather_object(f'{", ".join(told)}; samples {", ".join(tokens) or "?"}')
        if len(shares) > 1:
            shares = [f'process {rank}: {share}' for rank, share in enumerate(shares)]
        return f'loss {loss:.4g}, while the median of the steps before is {usual:.4g}; {"; ".join(shares)}.'


def _joint_mean(loss: float) -> float:
    """Over all processes; they all see the same, so that they warn together."""
    if get_world_size() == 1:
        return loss
    mean = torch.tensor(loss, dtype=torch.float64)
    all_reduce(mean, op='mean')
    return float(mean)
