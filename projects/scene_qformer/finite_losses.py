"""Stop at the first loss that is not a number."""
from __future__ import annotations

import torch
from mmengine.logging import MessageHub
from torch import Tensor

# Runtime information by which a hook takes over: while IN_CHARGE is there, what is found is put into FOUND.
IN_CHARGE, FOUND = 'someone_handles_losses_that_are_not_finite', 'losses_that_are_not_finite'
ADVICE = ('Look at these samples (a broken calibration or annotation?), lower the learning rate, or train without '
          '--amp; then go on with --resume.')


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
    hub = MessageHub.get_current_instance()
    if hub.get_info(IN_CHARGE):
        hub.update_info(FOUND, [*(hub.get_info(FOUND) or []), *bad], resumed=False)
        return
    tokens = [str(sample.metainfo.get('sample_token', '?')) for sample in batch_data_samples]
    raise NonFiniteLossError(f'Training stopped, no weight was changed by this step: {", ".join(bad)} in the batch of '
                             f'samples {", ".join(tokens)}. {ADVICE}')
