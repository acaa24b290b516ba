"""Stop at the first loss that is not a number."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

ADVICE = ('Look at these samples (a broken calibration or annotation?), lower the learning rate, or train without '
          '--amp; then go on with --resume.')
_collected: ContextVar[list[str] | None] = ContextVar('losses that are not finite', default=None)


class NonFiniteLossError(FloatingPointError):
    """A loss was NaN or infinite."""


def check_finite_losses(losses: dict[str, Tensor], batch_data_samples: list) -> None:
    """Raise before the optimizer sees a loss that would spoil every weight.

    Where ``FiniteStepHook`` watches the training, it is told instead: it decides for all processes alike, when all of
    them have their gradients.

    Args:
        losses: Losses by name.
        batch_data_samples: The batch that gave them.

    Raises:
        NonFiniteLossError: Names the losses and the sample tokens of the batch.
    """
    with torch.no_grad():
        finite = torch.stack([value.detach().float().isfinite().all() for value in losses.values()])
    if finite.all():  # the only synchronisation with the device
        return
    bad = [f'{name}={value.detach().float().mean().item()}'
           for (name, value), is_finite in zip(losses.items(), finite.tolist()) if not is_finite]
    collected = _collected.get()
    if collected is not None:
        collected += bad
        return
    tokens = [str(sample.metainfo.get('sample_token', '?')) for sample in batch_data_samples]
    raise NonFiniteLossError(f'Training stopped, no weight was changed by this step: {", ".join(bad)} in the batch of '
                             f'samples {", ".join(tokens)}. {ADVICE}')


@contextmanager
def collecting_losses(model: nn.Module, found: list[str]) -> Iterator[None]:
    """Let somebody else decide on a model's losses: in training, those that are not finite are noted, and none raises.

    Only while this very model computes, so that what else goes on in the process raises as ever.

    Args:
        model: Not wrapped for several processes.
        found: Where they are put, as ``loss_cls=nan``.
    """
    tokens = []

    def begin(module: nn.Module, *_) -> None:
        tokens.append(_collected.set(found if module.training else None))

    def end(*_) -> None:
        _collected.reset(tokens.pop())

    handles = [model.register_forward_pre_hook(begin, prepend=True),
               model.register_forward_hook(end, always_call=True)]  # errors, too
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
