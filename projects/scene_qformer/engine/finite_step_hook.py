"""No step on gradients that are not finite."""
from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import MMDistributedDataParallel, is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmengine.registry import HOOKS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from ..finite_losses import ADVICE, NonFiniteLossError, collecting_losses
from ..seeding import seed_generators
from .finite_gradients import gradients_are_finite
from .nonfinite_search import search_step
from .runner_parts import optim_wrappers, unwrapped_model, updates_now

_STATE = 'finite_steps'  # in checkpoints
POLICIES = ('stop', 'skip')
_HALVINGS = 40  # from the largest scale to one at which nothing overflows but infinity


class NonFiniteGradientError(FloatingPointError):
    """Gradients were NaN or infinite."""


@HOOKS.register_module()
class FiniteStepHook(Hook):
    """Looks at losses and gradients before an optimizer changes a weight, and stops or leaves the step out.

    The look is one number a step, read on the host: the sum of the largest gradients of all parameters. All processes
    decide alike. What the error says of parts is found by computing the step again, in the error's case alone: which
    part gave the first output that is not finite, and whose gradients are not.

    Of several optimizers, all whose gradients are ready when the first of them steps do their steps, or none does; if
    one finds its gradients bad later, what the others have done stays done, and the message says so.

    A step that is left out changes no weight, no state of the optimizer and no running statistics of batch norm; its
    samples are not trained on, and the learning rate's schedule goes on. The log tells each of them, and their number
    at the end. Numbers are kept in checkpoints.

    With ``AmpOptimWrapper`` in float16, the loss scaler leaves out steps whose scaled gradients overflow, and makes the
    scale smaller. Each of these is logged, and they are counted apart; a *loss* that is not finite is a bad step there,
    too. More overflows in a row than a scale can be halved for good stop the training.

    Args:
        on_bad_step: ``stop``: raise; ``skip``: leave the step out.
        max_in_a_row: With ``skip``: more bad steps one after the other stop the training.
        max_in_all: With ``skip``: more bad steps in all stop it.

    Raises:
        ValueError: If an argument is none of these.
    """

    priority = 'VERY_HIGH'

    def __init__(self, on_bad_step: str = 'stop', max_in_a_row: int = 3, max_in_all: int = 100) -> None:
        if on_bad_step not in POLICIES:
            raise ValueError(f'FiniteStepHook: expected on_bad_step to be one of {", ".join(POLICIES)}, got '
                             f'{on_bad_step!r}.')
        if min(max_in_a_row, max_in_all) < 1:
            raise ValueError(f'FiniteStepHook: max_in_a_row and max_in_all must be at least 1, got {max_in_a_row} and '
                             f"{max_in_all}. To allow none, leave on_bad_step='stop'.")
        self.on_bad_step, self.max_in_a_row, self.max_in_all = on_bad_step, max_in_a_row, max_in_all
        self.in_a_row = self.in_all = self.scaled_down = self.scaled_in_a_row = 0
        self._watching = ExitStack()  # from the first step to the last
        self._batches: list[tuple[int, Any]] = []  # of the step, since the last one, with the iterations that had them
        self._losses: list[str] = []  # of them, those that are not finite
        self._statistics: list[tuple[Tensor, Tensor]] = []
        self._counts: list[int | None] = []  # of wrappers, before this step; they count how often they took part
        self._looked_at: set[int] = set()  # of this step, the wrappers whose optimizers were about to step
        self._stepped: set[int] = set()  # of them, those that then did
        self._bad = self._overflowed = False  # this step was counted as such; several optimizers are one step

    def before_train(self, runner: Any) -> None:
        """Be told of losses, and be called before every step of every optimizer."""
        self._watching.close()  # a training before, which an error ended
        self._start_anew()
        self._watching.enter_context(collecting_losses(unwrapped_model(runner), self._losses))
        for each in optim_wrappers(runner):
            if not hasattr(each.optimizer, 'register_step_pre_hook'):
                continue  # DeepSpeed's
            self._watching.callback(each.optimizer.register_step_pre_hook(
                lambda optimizer, *_, wrapper=each: self._before_step(runner, optimizer, wrapper)).remove)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Remember what the step is made of."""
        if not self._batches and self.on_bad_step == 'skip':
            self._statistics = [(buffer, buffer.clone()) for buffer in _running_statistics(runner.model)]
        self._batches.append((runner.iter, data_batch))
        self._counts = [getattr(wrapper, 'inner_count', None) for wrapper in optim_wrappers(runner)]
        self._looked_at.clear()
        self._stepped.clear()
        self._bad = self._overflowed = False

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Forget it, where it led to a step."""
        took_part = [wrapper for wrapper, count in zip(optim_wrappers(runner), self._counts)
                     if count is None or wrapper.inner_count != count]
        due = [wrapper for wrapper in took_part if updates_now(wrapper)]
        if took_part and not due and not self._looked_at:  # the step that these batches belong to is still to come
            return
        if any(hasattr(wrapper, 'loss_scaler') and id(wrapper) not in self._looked_at for wrapper in due):
            self._scaled_down(runner)
        elif not self._looked_at and self._any_process(bool(self._losses)):  # e.g. DeepSpeed steps by itself
            name = type(runner.optim_wrapper).__name__
            self._raise(runner, f'Training stopped: {self._describe(runner, search=True)} {name} does its steps by '
                        f'itself, so weights may have changed: go on from the last checkpoint. {ADVICE}')
        if not self._bad and not self._overflowed:
            self.in_a_row = self.scaled_in_a_row = 0
        self._start_anew()

    def after_train(self, runner: Any) -> None:
        """Say what was left out in all."""
        self._watching.close()
        if self.in_all or self.scaled_down:
            print_log(f'Steps left out: {self.in_all} whose losses or gradients were not finite, {self.scaled_down} by '
                      'the loss scaler.', 'current', logging.WARNING)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Keep the numbers."""
        checkpoint[_STATE] = dict(in_a_row=self.in_a_row, in_all=self.in_all, scaled_down=self.scaled_down,
                                  scaled_in_a_row=self.scaled_in_a_row)

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Go on counting, if training resumes."""
        if runner._resume:
            for name, number in checkpoint.get(_STATE, {}).items():
                setattr(self, name, number)

    def _before_step(self, runner: Any, optimizer: torch.optim.Optimizer, wrapper: Any) -> None:
        """Raise or take the gradients away, by which an optimizer leaves a parameter as it is."""
        self._looked_at.add(id(wrapper))
        overflow = getattr(optimizer, 'found_inf', None)  # a scaler leaves it to fused optimizers to leave a step out
        if overflow is not None and bool(overflow):
            self._scaled_down(runner, optimizer)
            return
        others = [each.optimizer for each in self._to_step_after(runner, wrapper)]
        if self._any_process(self._bad or bool(self._losses) or not gradients_are_finite(optimizer, wrapper)
                             or not all(map(gradients_are_finite, others))):
            self._bad_step(runner, optimizer, *others)
        else:
            self._stepped.add(id(wrapper))

    def _to_step_after(self, runner: Any, first: Any) -> list[Any]:
        """The other wrappers whose gradients lie ready when the first of them steps, so that none or all of them do.

        Those that scale losses find overflows by themselves. Gradients that are computed after the first step cannot be
        looked at before it.
        """
        if len(self._looked_at) > 1:
            return []
        return [each for each in optim_wrappers(runner)
                if each is not first and updates_now(each) and not hasattr(each, 'loss_scaler')]

    def _scaled_down(self, runner: Any, *optimizers: torch.optim.Optimizer) -> None:
        if self._any_process(bool(self._losses)):
            self._bad_step(runner, *optimizers)
            return
        if self._overflowed:
            return
        self._overflowed = True
        self.scaled_down += 1
        self.scaled_in_a_row += 1
        if self.scaled_in_a_row > _HALVINGS:
            self._raise(runner, f'Training stopped: the loss scaler left out {self.scaled_in_a_row} steps in a row, so '
                        f'gradients are not finite at any scale: {self._describe(runner, search=True)} {ADVICE}')
        print_log(f'Iteration {runner.iter + 1}: the loss scaler left this step out, since gradients times its scale '
                  f'were not finite ({self.scaled_in_a_row} in a row, {self.scaled_down} in all). A few at the start '
                  'are how it finds its scale.', 'current', logging.WARNING)

    def _bad_step(self, runner: Any, *optimizers: torch.optim.Optimizer) -> None:
        if not self._bad:
            self._bad = True
            self._count_bad_step(runner)
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            for parameter in group['params']:
                parameter.grad = None
        with torch.no_grad():
            for buffer, before in self._statistics:
                buffer.copy_(before)

    def _count_bad_step(self, runner: Any) -> None:
        unchanged = ('other optimizers than this had made their steps' if self._stepped else
                     'no weight was changed by this step')
        if self.on_bad_step == 'stop':
            self._raise(runner, f'Training stopped, {unchanged}: {self._describe(runner, search=True)} {ADVICE} Or let '
                        "such steps be left out: default_hooks.finite_steps.on_bad_step='skip'.")
        self.in_a_row += 1
        self.in_all += 1
        too_many = self.in_a_row > self.max_in_a_row or self.in_all > self.max_in_all
        # Processes wait for each other in a second pass. If one of them fails, the others would wait for ever, so it
        # is made where none has to go on.
        found = self._describe(runner, search=too_many or get_world_size() == 1)
        if too_many:
            self._raise(runner, f'Training stopped after {self.in_a_row} bad steps in a row and {self.in_all} in all '
                        f'({self.max_in_a_row} and {self.max_in_all} are allowed), {unchanged}: {found} {ADVICE}')
        print_log(f'Iteration {runner.iter + 1}: step left out ({self.in_a_row} in a row, {self.in_all} in all), '
                  f'{unchanged}: {found}', 'current', logging.WARNING)

    def _describe(self, runner: Any, search: bool) -> str:
        """Of all processes: which losses, which samples; and what this one finds in its parts."""
        tokens = [str(sample.metainfo.get('sample_token', '?')) for _, batch in self._batches
                  for sample in _samples(batch)]
        what = f'{", ".join(self._losses)} in' if self._losses else 'gradients that are not finite from'
        told = f'{what} the batch of samples {", ".join(tokens) or "?"}'
        shares = all_gather_object(told)
        if len(shares) > 1:
            told = '; '.join(f'process {rank}: {share}' for rank, share in enumerate(shares))
        return f'{told}. {self._search(runner)}' if search else f'{told}.'

    def _search(self, runner: Any) -> str:
        if is_model_wrapper(runner.model) and not isinstance(runner.model, MMDistributedDataParallel):
            return f'Which part it was is not looked into under {type(runner.model).__name__}.'  # pieces of weights
        model, losses, wrapper = unwrapped_model(runner), list(self._losses), runner.optim_wrapper

        def batches() -> Iterator[Any]:
            for iteration, batch in self._batches:
                seed_generators(runner.seed or 0, runner.rank, iteration)  # as ExactResumeHook does before each step
                yield batch

        try:
            # several wrappers have no context in common
            with nullcontext() if isinstance(wrapper, OptimWrapperDict) else wrapper.optim_context(model):
                return search_step(model, batches()).as_text()
        except Exception as error:  # memory for a second pass, most of all; what led here is the error to tell
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            return f'Which part it was could not be found: {reason.rstrip(".")}.'
        finally:
            self._losses[:] = losses

    def _raise(self, runner: Any, message: str) -> None:
        self._watching.close()
        error = NonFiniteLossError if self._losses else NonFiniteGradientError
        self._start_anew()
        raise error(message)

    def _start_anew(self) -> None:
        self._batches, self._statistics = [], []
        self._losses.clear()

    @staticmethod
    def _any_process(here: bool) -> bool:
        if get_world_size() == 1:
            return here
        anywhere = torch.tensor(int(here))
        all_reduce(anywhere, op='max')
        return bool(anywhere)


def _running_statistics(model: nn.Module) -> Iterator[Tensor]:
    for module in model.modules():
        if isinstance(module, _NormBase) and module.track_running_stats and module.training:
            yield from (buffer for buffer in module.buffers(recurse=False))


def _samples(batch: Any) -> list:
    return batch.get('data_samples') or [] if isinstance(batch, dict) else []
