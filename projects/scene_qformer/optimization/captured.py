"""Functions of static shapes, recorded once and replayed: CUDA graphs."""
from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

Tensors = Mapping[str, Tensor]
Function = Callable[[Tensors], tuple[Tensor, ...]]
WARM_UPS = 3  # as PyTorch's documentation of CUDA graphs: libraries choose their algorithms and take their workspaces


class Graph(Protocol):
    """A recorded function: reads ``inputs``, and at each ``replay`` writes ``outputs``, always at the same place."""

    inputs: dict[str, Tensor]
    outputs: tuple[Tensor, ...]

    def replay(self) -> None:
        """Run what was recorded on what ``inputs`` now hold."""


class CudaGraph:
    """A :class:`Graph` of ``torch.cuda.graph``: hundreds of kernels, one launch.

    Args:
        function: Of tensors on a CUDA device; without a word of the host between them.
        inputs: Examples.

    Raises:
        RuntimeError: If the function makes the host wait, which a graph cannot record.
    """

    def __init__(self, function: Function, inputs: Tensors) -> None:
        self.inputs = {name: tensor.clone() for name, tensor in inputs.items()}
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            function(self.inputs)  # what is kept between calls is computed here, and may wait
            with refuse_synchronisation():
                for _ in range(WARM_UPS - 1):
                    function(self.inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self.outputs = function(self.inputs)

    def replay(self) -> None:
        self._graph.replay()


@contextmanager
def refuse_synchronisation() -> Iterator[None]:
    """Inside, whatever makes the host wait for the GPU raises a RuntimeError."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode('error')
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


class CapturedFunction:
    """A function that is recorded at the first call with given shapes, and from then on replayed.

    Results are copies: the next call does not overwrite them.

    Args:
        function: A mapping of tensors to a tuple of tensors. It must depend on nothing else that changes.
        graph: Records; :class:`CudaGraph`.
        required: Raise where it cannot be recorded; False warns once and goes on without.
        max_graphs: Graphs hold memory for all that they compute, so that more shapes than this replace the oldest.
    """

    def __init__(self, function: Function, graph: Callable[[Function, Tensors], Graph] = CudaGraph,
                 required: bool = True, max_graphs: int = 4) -> None:
        self._function, self._graph, self._required, self._max_graphs = function, graph, required, max_graphs
        self._graphs: dict[tuple, Graph] = {}
        self._refused = False

    def __call__(self, inputs: Tensors) -> tuple[Tensor, ...]:
        """The function's result.

        Raises:
            RuntimeError: If it is ``required`` to be recorded, and cannot be.
        """
        if self._refused:
            return self._function(inputs)
        key = tuple((name, tensor.shape, tensor.dtype, tensor.device) for name, tensor in inputs.items())
        if key not in self._graphs:
            try:
                with torch.inference_mode(False), torch.no_grad():  # buffers that every later call may write
                    graph = self._graph(self._function, inputs)
            except RuntimeError as error:
                return self._go_without(inputs, error)
            while len(self._graphs) >= self._max_graphs:
                self._graphs.pop(next(iter(self._graphs)))
            self._graphs[key] = graph
        graph = self._graphs[key]
        for name, tensor in inputs.items():
            graph.inputs[name].copy_(tensor, non_blocking=True)
        graph.replay()
        return tuple(output.clone() for output in graph.outputs)

    def _go_without(self, inputs: Tensors, error: RuntimeError) -> tuple[Tensor, ...]:
        told = ('This model cannot be captured in a CUDA graph: a part of it makes the host wait for the GPU, such as '
                f'attention that counts the queries a camera sees ({error}).')
        if self._required:
            raise RuntimeError(f"{told} Use capture='none' or 'compile'.") from error
        warnings.warn(f'{told} It runs without.', stacklevel=3)
        self._refused = True
        return self._function(inputs)
