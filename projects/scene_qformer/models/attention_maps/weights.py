"""How much of each memory cell a cross-attention reads: one function, with an implementation for each class."""
from __future__ import annotations

from functools import singledispatch
from typing import Any

from torch import Tensor, nn


@singledispatch
def attention_weights(module: nn.Module, inputs: dict[str, Any], queries: Tensor) -> Tensor:
    """The weights with which a cross-attention reads the memory.

    What the module reads from the memory for a query is the weighted sum of the memory's projected values, head by
    head; the tests hold the implementations to that, and the joint encoder's to a softmax by hand. For a class of your
    own, register one::

        @attention_weights.register
        def _(module: MyAttention, inputs, queries):
            ...

    Args:
        module: The cross-attention; its class chooses the implementation. Weights are taken as they are now.
        inputs: What it was called with, by the names of its ``forward``: ``query``, ``query_pos``, ``key``,
            ``key_pos``, ``value``, ``reference_points``, ``spatial_shapes``, ``cameras`` ...
        queries: ``(q,)`` int64, indices of the queries that are asked for; large sets are asked for piece by piece.

    Returns:
        ``(B, heads, q, K)``, without dropout. A query's weights sum to less than 1 where it read nothing: samples
        outside of the image, masked keys.

    Raises:
        NotImplementedError: If there is none for this class.
    """
    known = ', '.join(sorted(known.__name__ for known in attention_weights.registry if known is not object))
    raise NotImplementedError(
        f'There are no attention weights for {type(module).__name__}, only for {known} and their subclasses. Register '
        f'a function: @attention_weights.register({type(module).__name__}); its docstring tells what to return.')
