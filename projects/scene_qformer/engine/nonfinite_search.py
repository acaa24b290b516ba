"""Where a step's numbers stop being finite: the step once more, with someone looking at every part."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

_SHOWN = 5  # parts in a message


@dataclass(frozen=True)
class Finding:
    """What a step looks like from inside."""

    weights: tuple[str, ...] = ()  # parameters that are not finite before the step
    inputs: tuple[str, ...] = ()  # what the data preprocessor hands on and is not finite
    output: str = ''  # the first part whose output is not finite
    gradients: tuple[tuple[str, int], ...] = ()  # parameters whose gradients are not, and how many numbers of each

    def as_text(self) -> str:
        """A sentence or three; says so if everything was finite."""
        sentences = []
        if self.weights:
            sentences.append(f'Already before the step, {_listed(self.weights)} held numbers that are not finite.')
        if self.inputs:
            sentences.append(f'The inputs held such numbers: {_listed(self.inputs)}.')
        if self.output:
            sentences.append(f'The first output that was not finite came from {self.output}.')
        if self.gradients:
            parts = [f'{name} ({number})' for name, number in self.gradients]
            sentences.append(f'Gradients that are not finite, and how many numbers of them: {_listed(parts)}.')
        return ' '.join(sentences) or 'Repeated by this process, the step was finite.'


def search_step(model: nn.Module, batches: Iterable[Any]) -> Finding:
    """Compute the losses of a step and their gradients once more. Gradients and buffers stay as they were.

    Args:
        model: With ``data_preprocessor`` and mode ``loss``; not wrapped for several processes.
        batches: As the data loader gave them, one for each time that gradients were accumulated.
    """
    # not buffers: the step that is searched has changed the statistics of batch norm already
    weights = tuple(name for name, value in model.named_parameters() if not _is_finite(value))
    first: list[str] = []
    inputs: dict[str, None] = {}

    with _left_as_it_was(model), _watched(model, first), torch.enable_grad():
        for batch in batches:
            data = model.data_preprocessor(batch, True)
            inputs.update(dict.fromkeys(_inputs_not_finite(data['inputs'])))
            loss, _ = model.parse_losses(model(**data, mode='loss'))
            loss.backward()
        gradients = tuple((name, int((~value.grad.isfinite()).sum())) for name, value in model.named_parameters()
                          if value.grad is not None and not _is_finite(value.grad))
    return Finding(weights, tuple(inputs), first[0] if first else '', gradients)


@contextmanager
def _left_as_it_was(model: nn.Module) -> Iterator[None]:
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    model.zero_grad(set_to_none=True)
    try:
        yield
    finally:
        for parameter, gradient in gradients:
            parameter.grad = gradient
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)


@contextmanager
def _watched(model: nn.Module, first: list[str]) -> Iterator[None]:
    """Note the first module whose output is not finite; inner ones come before those that they are in."""
    def look(name: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            if not first and not all(map(_is_finite, tree_leaves(output))):
                first.append(name)
        return hook

    handles = [module.register_forward_hook(look(name)) for name, module in model.named_modules()
               if name and name.partition('.')[0] != 'data_preprocessor']
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _inputs_not_finite(inputs: Any) -> list[str]:
    named = inputs if isinstance(inputs, dict) else {'inputs': inputs}
    return [name for name, value in named.items() if not all(map(_is_finite, tree_leaves(value)))]


def _is_finite(value: Any) -> bool:
    return not isinstance(value, Tensor) or not value.is_floating_point() or bool(value.isfinite().all())


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    return ', '.join(names[:_SHOWN]) + (f' and {rest} more' if rest > 0 else '')
