"""Which part of a model a growing number belongs to: seconds, FLOPs, bytes; forward and backward."""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial, wraps
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

# What a detector calls its parts by, beside calling them.
METHODS = ('loss', 'predict', 'denoising_loss')
REST = ''  # what lies between the parts


def list_parts(model: nn.Module, expand: Sequence[str] = ('decoder', )) -> dict[str, list[nn.Module]]:
    """The parts of a model by label.

    Args:
        model: Its children are parts, without ``data_preprocessor``.
        expand: Children whose own children are parts too. The layers of a ``ModuleList`` are taken together, child by
            child: ``decoder.layers.*.self_attn`` is the self-attention of all layers.

    Raises:
        ValueError: If there is no child to expand.
    """
    children = {name: child for name, child in model.named_children() if name != 'data_preprocessor'}
    unknown = [name for name in expand if name not in children]
    if unknown:
        raise ValueError(f'{type(model).__name__} has no part {unknown[0]!r} to expand; it has {", ".join(children)}.')
    parts: dict[str, list[nn.Module]] = {}
    for name, child in children.items():
        parts[name] = [child]
        if name in expand:
            for label, module in _called_parts(name, child):
                parts.setdefault(label, []).append(module)
    return parts


def _called_parts(label: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Children, in place of containers what they hold: a container is never called itself."""
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleDict):
            yield from _called_parts(f'{label}.{name}', child)
        elif isinstance(child, nn.ModuleList):
            for item in child:
                inside = [] if isinstance(item, nn.Sequential) else list(_called_parts(f'{label}.{name}.*', item))
                yield from inside or [(f'{label}.{name}.*', item)]
        else:
            yield f'{label}.{name}', child


class PartMeter:
    """Splits the growth of a number over the parts that were running meanwhile::

        with PartMeter(list_parts(model), time.perf_counter) as meter:
            loss = model(...)
            meter.backward(loss)
        meter.total('decoder')

    Forward, a part runs while it is called, through ``forward`` or one of ``METHODS``. Backward, it runs while the
    graph nodes run that it made; operations between two parts count to the later one there, and to ``REST`` forward.

    Args:
        parts: Modules by label; those of ``a.b`` lie inside those of ``a``.
        read: The number, which never falls.
    """

    def __init__(self, parts: Mapping[str, Sequence[nn.Module]], read: Callable[[], float]) -> None:
        self.amounts: defaultdict[str, float] = defaultdict(float)  # exclusive: without the parts inside
        self._parts = parts
        self._read = read
        self._running = [REST]
        self._owner: dict[Any, str] = {}  # graph node to label
        self._undo: list[Callable[[], Any]] = []

    def __enter__(self) -> PartMeter:
        for label, modules in self._parts.items():
            for module in modules:
                enter, leave = partial(self._enter, label), partial(self._leave, label)
                self._undo += [
                    module.register_forward_pre_hook(lambda *_, enter=enter: enter()).remove,
                    # also where a forward is broken off, as recomputation does when it has what it needs
                    module.register_forward_hook(
                        lambda _m, _i, output, leave=leave: leave(output), always_call=True).remove,
                ]
                for name in METHODS if '.' not in label else ():
                    if hasattr(module, name):
                        setattr(module, name, self._metered(getattr(module, name), label))
                        self._undo.append(partial(delattr, module, name))
        self._last = self._read()
        return self

    def __exit__(self, *_: object) -> None:
        self._settle()
        for undo in self._undo:
            undo()
        self._owner.clear()

    def total(self, label: str) -> float:
        """Of a part, the parts inside included."""
        return sum(amount for name, amount in self.amounts.items() if name == label or name.startswith(f'{label}.'))

    @property
    def called(self) -> set[str]:
        """Labels of the parts that ran."""
        return set(self.amounts)

    def backward(self, loss: Tensor) -> None:
        """``loss.backward()``, metered."""
        self._settle()
        self._own(loss, REST)
        for node, label in self._owner.items():
            node.register_prehook(partial(self._switch, label))
        self._last = self._read()
        loss.backward()
        self._settle()
        self._running = [REST]

    def _metered(self, method: Callable, label: str) -> Callable:
        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            self._enter(label)
            output = None
            try:
                output = method(*args, **kwargs)
            finally:
                self._leave(label, output)
            return output
        return call

    def _settle(self) -> None:
        now = self._read()
        self.amounts[self._running[-1]] += now - self._last
        self._last = now

    def _enter(self, label: str) -> None:
        self._settle()
        self._running.append(label)

    def _leave(self, label: str, output: Any) -> None:
        self._settle()
        self._running.pop()
        self._own(output, label)
        self._last = self._read()  # the search is nobody's

    def _switch(self, label: str, *_: Any) -> None:
        """Before a graph node runs; what is called meanwhile is a recomputation, and lies above it."""
        self._settle()
        self._running[0] = label

    def _own(self, output: Any, label: str) -> None:
        """The nodes behind ``output`` that no part owns were made by this one."""
        waiting = [leaf.grad_fn for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        while waiting:
            node = waiting.pop()
            if node is not None and node not in self._owner:
                self._owner[node] = label
                waiting += [following for following, _ in node.next_functions]
