"""Whether what an optimizer is about to step on is finite: one number, read on the host."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def gradients_are_finite(optimizer: torch.optim.Optimizer, wrapper: Any = None) -> bool:
    """Look at the sum of the largest gradients of all parameters, and at the norm that they were clipped by.

    Clipping divides by a norm that may overflow while no gradient does: all of them are zero then.

    Args:
        optimizer: Whose gradients.
        wrapper: mmengine's wrapper around it, which knows the norm; None where it has not clipped them yet.
    """
    gradients = [parameter.grad for group in optimizer.param_groups for parameter in group['params']
                 if parameter.grad is not None and parameter.grad.numel()]  # FSDP leaves empty ones
    finite = not gradients or bool(torch.stack(_largest(gradients)).sum().isfinite())
    return finite and math.isfinite(_clipped_norm(wrapper))


def _largest(gradients: Sequence[Tensor]) -> list[Tensor]:
    """The largest of each gradient, on one device; not finite where a number is not."""
    device = gradients[0].device
    by_kind: dict[tuple, list[Tensor]] = {}
    for gradient in gradients:
        values = gradient.coalesce().values() if gradient.is_sparse else gradient.detach()
        by_kind.setdefault((values.device, values.dtype), []).append(values)
    # Infinity norms: no squares, which overflow at 2e19 in float32
    norms = [norm for values in by_kind.values() for norm in torch._foreach_norm(values, float('inf'))]
    return [norm.to(device, torch.float32) for norm in norms]


def _clipped_norm(wrapper: Any) -> float:
    """The norm that gradients were divided by just now; 0 where none was."""
    norm = None
    if getattr(wrapper, 'clip_grad_kwargs', None):  # None, and DeepSpeed's wrapper, have none
        norm = wrapper.message_hub.log_scalars.get(f'train/{wrapper.grad_name}')
    return 0. if norm is None else float(norm.current())
