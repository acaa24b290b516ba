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
REPLAY_BOUND = 1e-2  # of the largest number: bfloat16 added in another order; a graph that computes nothing is far off


class Graph(Protocol):
    """A recorded function: reads ``inputs``, and at each ``replay`` writes ``outputs``, always at the same place.

    Nothing else reads or writes ``outputs``; they are floating-point numbers.
    """

    inputs: dict[str, Tensor]
    outputs: tuple[Tensor, ...]

    def replay(self) -> None:
        """Run what was recorded on what ``inputs`` now hold."""


class CudaGraph:
    """A :class:`Graph` of ``torch.cuda.graph``: hundreds of kernels, one launch.

    Args:
        function: Of tensors on a CUDA device; without a word of the host between them.
        inputs: Examples, all on one device: there it is recorded and replayed, whichever device is the current one.

    Raises:
        RuntimeError: If the function makes the host wait, which a graph cannot record.
    """

    def __init__(self, function: Function, inputs: Tensors) -> None:
        self._device = next(iter(inputs.values())).device
        self.inputs = {name: tensor.clone() for name, tensor in inputs.items()}
        with torch.cuda.device(self._device):
            stream = torch.cuda.Stream()  # given below, too: PyTorch's own lies on the device that captured first
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                function(self.inputs)  # what is kept between calls is computed here, and may wait
                with refuse_synchronisation():
                    for _ in range(WARM_UPS - 1):
                        function(self.inputs)
            torch.cuda.current_stream().wait_stream(stream)
            self._graph = torch.cuda.CUDAGraph()
            # Other threads, such as those that load data, may go on pinning memory: 'thread_local'.
            with torch.cuda.graph(self._graph, stream=stream, capture_error_mode='thread_local'):
                # Copies: a function may give back what it was given, or its own weights.
                self.outputs = tuple(output.clone() for output in function(self.inputs))

    def replay(self) -> None:
        with torch.cuda.device(self._device):
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

    Results are copies: the next call does not overwrite them. What was recorded is replayed once and compared with the
    function itself before it is used.

    Args:
        function: A mapping of tensors to a tuple of tensors. It must depend on nothing else that changes.
        graph: Records; :class:`CudaGraph`.
        required: Raise where it cannot be recorded; False warns and, for these shapes, goes on without.
        max_graphs: Graphs hold memory for all that they compute, so that with more shapes than this the one that was
            not used for the longest time goes.
    """

    def __init__(self, function: Function, graph: Callable[[Function, Tensors], Graph] = CudaGraph,
                 required: bool = True, max_graphs: int = 4) -> None:
        self._function, self._graph, self._required, self._max_graphs = function, graph, required, max_graphs
        self._graphs: dict[tuple, Graph] = {}  # the one used last is last
        self._refused: set[tuple] = set()

    def __call__(self, inputs: Tensors) -> tuple[Tensor, ...]:
        """The function's result.

        Raises:
            RuntimeError: If it is ``required`` to be recorded, and cannot be.
            torch.cuda.OutOfMemoryError: If recording needs more memory than there is.
        """
        key = tuple((name, tensor.shape, tensor.dtype, tensor.device) for name, tensor in inputs.items())
        if key in self._refused:
            return self._function(inputs)
        graph = self._graphs.pop(key, None)
        if graph is None:
            try:
                graph = self._record(inputs)
            except torch.cuda.OutOfMemoryError:  # a RuntimeError, too, that says nothing about the function
                raise
            except RuntimeError as error:
                return self._go_without(key, inputs, error)
            while len(self._graphs) >= self._max_graphs:
                self._graphs.pop(next(iter(self._graphs)))
        self._graphs[key] = graph
        for name, tensor in inputs.items():
            graph.inputs[name].copy_(tensor, non_blocking=True)
        graph.replay()
        return tuple(output.clone() for output in graph.outputs)

    def _record(self, inputs: Tensors) -> Graph:
        with torch.inference_mode(False), torch.no_grad():  # buffers that every later call may write
            graph = self._graph(self._function, inputs)
            check_replay(graph, self._function(graph.inputs))
        return graph

    def _go_without(self, key: tuple, inputs: Tensors, error: RuntimeError) -> tuple[Tensor, ...]:
        result = self._function(inputs)  # an error of its own is raised here, as it is
        told = (f'This model cannot be captured in a CUDA graph ({error}). Mostly, a part of it makes the host wait '
                'for the GPU, such as attention that counts the queries a camera sees.')
        if self._required:
            raise RuntimeError(f"{told} Use capture='none' or 'compile'.") from error
        warnings.warn(f'{told} For these shapes it runs without.', stacklevel=3)
        self._refused.add(key)
        return result


def check_replay(graph: Graph, expected: tuple[Tensor, ...]) -> None:
    """Replay once, and compare.

    Work on another stream or device than the recorded one is not recorded, and nothing tells: the graph is then empty,
    and its outputs are what they were.

    Args:
        graph: As it was recorded; its outputs are overwritten.
        expected: What the function itself makes of ``graph.inputs``.

    Raises:
        RuntimeError: If the replay gives something else, or numbers that are not finite.
    """
    for output in graph.outputs:
        output.fill_(float('nan'))
    graph.replay()
    for got, wanted in zip(graph.outputs, expected, strict=True):
        if not (got.isfinite().all() and torch.allclose(got, wanted, rtol=0, atol=REPLAY_BOUND * float(
                wanted.abs().max()))):
            raise RuntimeError('its replay differs from the function itself, or is not finite: a part of it was not '
                               'recorded')
