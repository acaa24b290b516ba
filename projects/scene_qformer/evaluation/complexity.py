"""What each part of a model costs: parameters, FLOPs, activations, time."""
from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count, sdpa_backward_flop_count, sdpa_flop_count

from .part_meter import REST, PartMeter, list_parts

NOTES = (
    'FLOPs: two for each multiply-add of matrix products, convolutions and attention (torch.utils.flop_counter). Not '
    'counted: sampling (deformable attention reads by grid_sample or a kernel of mmcv), normalisation, activation '
    'functions, softmax, additions, the assignment of objects.',
    'Activations: storages that forward saves for backward in training, each once, without parameters; of a '
    'checkpointed layer (with_cp) nothing is seen. They depend on the device: on a CPU, attention with dropout keeps '
    'its weights, (B, heads, Q, K), and the fused kernels of a GPU do not.',
    'Forward: scene tokens and predictions, in evaluation. Training: losses and scene tokens, forward and backward.')

TOTAL = 'total'
aten = torch.ops.aten


def _convolution_backward(grad_shape: Sequence[int], input_shape: Sequence[int], weight_shape: Sequence[int],
                          *args: Any, out_shape: Any) -> int:
    """As much as forward for each of the two gradients, that of the input and that of the weights, if wanted."""
    transposed, wanted = args[4], args[7]
    return conv_flop_count(input_shape, weight_shape, grad_shape, transposed) * sum(wanted[:2])


# Where torch 2.13 does not count well: it knows attention kernels of GPUs only, and counts the gradient of a grouped
# convolution's weights as if there were one group. Formulas get shapes in place of tensors.
FORMULAS = {
    aten._scaled_dot_product_flash_attention_for_cpu:
        lambda query, key, value, *_, **__: sdpa_flop_count(query, key, value),
    aten._scaled_dot_product_flash_attention_for_cpu_backward:
        lambda grad, query, key, value, *_, **__: sdpa_backward_flop_count(grad, query, key, value),
    aten.convolution_backward: _convolution_backward,
}


class _OneModule:
    """In place of torch's ModuleTracker, which stumbles over outputs without gradients: PartMeter knows the parts."""

    parents = ('Global', )

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


@dataclass(frozen=True)
class PartCost:
    """One part, parts inside included; ``name`` is '' for what lies between the parts, 'total' for the whole."""

    name: str
    parameters: int
    trained_parameters: int
    activation_bytes: int
    flops: int
    seconds: float
    train_flops: int = 0  # forward and backward; 0 where it was not asked for
    train_seconds: float = 0.


def measure_complexity(model: nn.Module, batch: dict, train: bool = False, expand: Sequence[str] = ('decoder', ),
                       num_runs: int = 5) -> list[PartCost]:
    """Measure a detector part by part.

    Every pass runs whole; a part counts in the first pass in which it runs, so that the projector, which no detection
    loss reaches, is measured with the scene tokens. A copy is measured: training steps change BatchNorm's statistics
    and leave gradients, and the model given keeps its own.

    Args:
        model: A :class:`SceneQFormer` or another detector with modes ``loss``, ``predict`` and ``tensor``.
        batch: What its data preprocessor takes; see ``random_batch.py``.
        train: Also measure training steps, forward and backward.
        expand: Parts whose own parts are measured too.
        num_runs: Runs of which the median time is taken, after one that does not count.

    Returns:
        The parts in the order of the model, then what lies between, then the total.
    """
    model = copy.deepcopy(model)
    parts = list_parts(model, expand)
    data = model.data_preprocessor(batch, training=True)
    has_head = getattr(model, 'bbox_head', None) is not None
    evaluated = [_pass(model, data, mode) for mode in (['predict'] if has_head else []) + ['tensor']]
    trained = [_pass(model, data, mode) for mode in (['loss'] if has_head else []) + ['tensor']]
    model.eval()
    with torch.no_grad():
        flops = _flops(parts, evaluated)
        seconds = _seconds(parts, evaluated, num_runs)
    model.train()
    activations = _activations(model, parts, trained)
    train_flops = _flops(parts, trained, backward=True) if train else {}
    train_seconds = _seconds(parts, trained, num_runs, backward=True) if train else {}

    def cost(name: str, modules: Sequence[nn.Module]) -> PartCost:
        parameters = {parameter for module in modules for parameter in module.parameters()}
        return PartCost(
            name,
            parameters=sum(parameter.numel() for parameter in parameters),
            trained_parameters=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
            activation_bytes=int(activations[name]),
            flops=int(flops[name]),
            seconds=seconds[name],
            train_flops=int(train_flops.get(name, 0)),
            train_seconds=train_seconds.get(name, 0.))

    return [*(cost(name, modules) for name, modules in parts.items()), cost(REST, []), cost(TOTAL, [model])]


def _pass(model: nn.Module, data: dict, mode: str) -> Callable[[], Tensor | None]:
    """Run a mode; returns a number to differentiate, or None where no gradients are kept."""
    def run() -> Tensor | None:
        result = model(**data, mode=mode)
        if not torch.is_grad_enabled():
            return None
        return result.sum() if mode == 'tensor' else model.parse_losses(result)[0]
    return run


def _amounts(parts: dict[str, list[nn.Module]], passes: Sequence[Callable], read: Callable[[], float],
             backward: bool = False) -> dict[str, float]:
    """What grew while a part ran, by label; of each pass only parts that did not run in the ones before."""
    amounts: dict[str, float] = {}
    for run in passes:
        with PartMeter(parts, read) as meter:
            loss = run()
            if backward:
                meter.backward(loss)
        done = {name.partition('.')[0] for name in amounts}
        amounts |= {name: meter.total(name) for name in (*parts, REST)
                    if name.partition('.')[0] in meter.called - done}
    total = sum(amount for name, amount in amounts.items() if '.' not in name)
    return {name: amounts.get(name, 0) for name in (*parts, REST)} | {TOTAL: total}


def count_flops(run: Callable[[], Any]) -> int:
    """Of a call, as the notes say."""
    with _no_fused_inference(), _flop_counter() as counter:
        run()
    return counter.get_total_flops()


def _flops(parts: dict[str, list[nn.Module]], passes: Sequence[Callable], backward: bool = False) -> dict[str, float]:
    with _no_fused_inference(), _flop_counter() as counter:
        return _amounts(parts, passes, counter.get_total_flops, backward)


def _flop_counter() -> FlopCounterMode:
    counter = FlopCounterMode(display=False, custom_mapping=FORMULAS)
    counter.mod_tracker = _OneModule()
    return counter


@contextmanager
def _no_fused_inference() -> Iterator[None]:
    """In inference nn.MultiheadAttention may take one kernel for all it does, which is not counted."""
    was_enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_enabled)


def _seconds(parts: dict[str, list[nn.Module]], passes: Sequence[Callable], num_runs: int,
             backward: bool = False) -> dict[str, float]:
    def read() -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()

    runs = [_amounts(parts, passes, read, backward) for _ in range(1 + num_runs)][1:]
    return {name: median(run[name] for run in runs) for name in runs[0]}


def count_saved_bytes(model: nn.Module, run: Callable[[], Any]) -> int:
    """Of the storages that a call keeps for a backward pass, as the notes say; gradients must be on.

    Args:
        model: Whose parameters and buffers do not count.
        run: Its forward pass.
    """
    with _saved_bytes(model) as (read, _):
        run()
    return read()


def _activations(model: nn.Module, parts: dict[str, list[nn.Module]], passes: Sequence[Callable]) -> dict[str, float]:
    """Bytes of the storages that a forward pass keeps for the backward pass."""
    with _saved_bytes(model) as (read, forget):
        def afresh(run: Callable) -> None:
            forget()
            run()

        return _amounts(parts, [partial(afresh, run) for run in passes], read)


@contextmanager
def _saved_bytes(model: nn.Module) -> Iterator[tuple[Callable[[], int], Callable[[], None]]]:
    """How many bytes were saved by now; and what makes those saved so far count again. There can be no backward pass.
    """
    not_activations = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}  # held, so that no address is used twice
    total = 0

    def pack(tensor: Tensor) -> None:
        nonlocal total
        storage = tensor.untyped_storage()
        address = storage.data_ptr()
        if address not in not_activations and address not in kept:
            kept[address] = storage
            total += storage.nbytes()

    with saved_tensors_hooks(pack, lambda packed: packed):
        yield lambda: total, kept.clear


def to_markdown(costs: Sequence[PartCost]) -> str:
    """A Markdown table, and what its numbers mean."""
    total = costs[-1]
    trained = total.train_seconds > 0
    header = ['part', 'parameters', 'of them trained', 'activations, MB', 'GFLOPs', 'ms', 'share']
    header += ['training: GFLOPs', 'ms', 'share'] if trained else []
    lines = ['| ' + ' | '.join(header) + ' |', '|---|' + '---:|' * (len(header) - 1)]
    for cost in costs:
        cells = [_label(cost.name), f'{cost.parameters:,}', f'{cost.trained_parameters:,}',
                 f'{cost.activation_bytes / 1e6:,.1f}', f'{cost.flops / 1e9:,.2f}', f'{cost.seconds * 1e3:,.1f}',
                 f'{cost.seconds / total.seconds:.1%}']
        if trained:
            cells += [f'{cost.train_flops / 1e9:,.2f}', f'{cost.train_seconds * 1e3:,.1f}',
                      f'{cost.train_seconds / total.train_seconds:.1%}']
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join([*lines, '', *NOTES]) + '\n'


def _label(name: str) -> str:
    if '.' in name:
        return '&emsp;' + name.partition('.')[2]
    return f'**{name}**' if name == TOTAL else name or '(between the parts)'


def to_dicts(costs: Sequence[PartCost]) -> list[dict]:
    """For JSON."""
    return [asdict(cost) for cost in costs]
