"""How strong the gradients are that one backward pass left in a model, and which parameters got none."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

NONE, ZERO, NOT_FINITE, FROZEN = 'none', 'zero', 'not finite', 'frozen'


@dataclass(frozen=True)
class GradientNorm:
    """Of one parameter, or of the parameters of a part taken together. Norms are Euclidean."""

    name: str
    num_weights: int
    weight_norm: float
    grad_norm: float  # 0 where there is no gradient; frozen parameters do not count in a part's
    flags: dict[str, int]  # how many parameters got no gradient, a zero or not finite one, or are frozen

    @property
    def ratio(self) -> float:
        """Gradient to weight: how much of a weight a step of plain gradient descent with rate 1 would change."""
        return self.grad_norm / self.weight_norm if self.weight_norm else math.nan


def gradient_norms(model: nn.Module) -> list[GradientNorm]:
    """Of every parameter, after ``backward()``, in the order of the model."""
    norms = []
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        grad_norm = 0. if gradient is None else gradient.double().norm().item()
        if not parameter.requires_grad:
            flag = FROZEN
        elif gradient is None:
            flag = NONE
        elif not math.isfinite(grad_norm):
            flag = NOT_FINITE
        else:
            flag = '' if grad_norm else ZERO
        norms.append(GradientNorm(name, parameter.numel(), parameter.detach().double().norm().item(), grad_norm,
                                  {flag: 1} if flag else {}))
    return norms


def by_part(norms: Sequence[GradientNorm], depth: int = 1) -> list[GradientNorm]:
    """Take the parameters of each part together: those whose names agree in the first ``depth`` components."""
    parts: dict[str, list[GradientNorm]] = {}
    for norm in norms:
        parts.setdefault('.'.join(norm.name.split('.')[:depth]), []).append(norm)
    return [GradientNorm(
        name, sum(member.num_weights for member in members),
        math.hypot(*(member.weight_norm for member in members)),
        math.hypot(*(member.grad_norm for member in members if FROZEN not in member.flags)),
        {flag: count for flag in (NONE, ZERO, NOT_FINITE, FROZEN)
         if (count := sum(member.flags.get(flag, 0) for member in members))}) for name, members in parts.items()]


def to_markdown(norms: Sequence[GradientNorm]) -> str:
    """A Markdown table."""
    lines = ['| | weights | weight norm | gradient norm | ratio | flags |', '|---|---:|---:|---:|---:|---|']
    for norm in norms:
        flags = ', '.join(f'{count} {flag}' for flag, count in norm.flags.items())
        ratio = '-' if math.isnan(norm.ratio) else f'{norm.ratio:.2e}'
        lines.append(f'| {norm.name} | {norm.num_weights:,} | {norm.weight_norm:.3g} | {norm.grad_norm:.3g} | {ratio} '
                     f'| {flags} |')
    return '\n'.join(lines) + '\n'
