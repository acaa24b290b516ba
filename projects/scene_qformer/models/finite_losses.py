"""Stop at the first loss that is not a number."""
from __future__ import annotations

import torch
from torch import Tensor


class NonFiniteLossError(FloatingPointError):
    """A loss was NaN or infinite."""


def check_finite_losses(losses: dict[str, Tensor], batch_data_samples: list) -> None:
    """Raise before the optimizer sees a loss that would spoil every weight.

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
    tokens = [str(sample.metainfo.get('sample_token', '?'))
              for sample in batch_data_samples]
    raise NonFiniteLossError(
        f'Training stopped, no weight was changed by this step: {", ".join(bad)} in the batch of samples '
        f'{", ".join(tokens)}. Look at these samples (a broken calibration or annotation?), lower the learning rate, '
        'or train without --amp; then go on with --resume.')
