"""Record what cross-attentions were called with, and compute from it where they looked."""
from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..joint_scene_encoder import JointSceneEncoder, JointSceneLayer
from .weights import attention_weights

CROSS_ATTENTION = ('cross_attn', 'crossattention')  # what layers call theirs; the second is BERT's name
CHUNK_ELEMENTS = 2**21  # weights a head computed at once: 64 MiB with 8 heads in float32


class AttentionRecording:
    """What :func:`record_attention` gives: the inputs of each cross-attention, layer by layer, and its maps."""

    def __init__(self, modules: dict[str, nn.Module], around: Iterable[str] = ()) -> None:
        self._modules = modules
        self._around = tuple(around)  # names of modules whose inputs those within them share
        self._inputs: dict[str, dict[str, Any]] = {}

    @property
    def layers(self) -> list[str]:
        """Names of the cross-attentions that were called, first layer first."""
        return [name for name in self._modules if name in self._inputs]

    def inputs(self, layer: int = -1) -> dict[str, Any]:
        """What a layer's cross-attention was called with, by the names of its ``forward``.

        For a layer of the joint encoder, the encoder's own inputs too.

        Raises:
            RuntimeError: If nothing was recorded.
            IndexError: If there is no such layer.
        """
        name = self._name(layer)
        around = next((self._inputs[path] for path in self._around if not path or name.startswith(f'{path}.')), {})
        return {**around, **self._inputs[name]}

    @torch.no_grad()
    def maps(self, layer: int = -1, per_head: bool = False, queries: Tensor | None = None) -> list[Tensor]:
        """Where queries looked in the last call of the model.

        They are computed here, from the inputs and the module's weights as they are now: ask before the next step of
        the optimizer.

        Args:
            layer: Which layer; negative numbers count from the last.
            per_head: Keep the heads instead of averaging them.
            queries: ``(Q',)`` int64, the queries that are asked for; all by default.

        Returns:
            One ``(B, Q, N, Hl, Wl)`` float tensor per feature level, finest first; ``(B, heads, Q, N, Hl, Wl)`` with
            ``per_head``. Over all levels and cameras they sum to 1, over what was attended: what deformable attention
            samples outside of the images does not count. They are 0 where nothing was attended, for example by a query
            whose reference point no camera sees.

        Raises:
            RuntimeError: If nothing was recorded.
            IndexError: If there is no such layer.
            NotImplementedError: If :func:`attention_weights` does not know the class.
            ValueError: If the attention was called without ``spatial_shapes``.
        """
        name, inputs = self._name(layer), self.inputs(layer)
        module = self._modules[name]
        if inputs.get('spatial_shapes') is None:
            raise ValueError(f'{name} ({type(module).__name__}) was called without spatial_shapes (N*L, 2), which say '
                             'how its keys lie in the images: hand them over, as SceneQueryDecoder does.')
        shapes, query = inputs['spatial_shapes'], inputs['query']
        # (B, Q, C), or (Q, B, C) in mmcv's default layout
        batch_size, num_queries = query.shape[:2] if getattr(module, 'batch_first', True) else query.shape[1::-1]
        if queries is None:
            queries = torch.arange(num_queries, device=query.device)
        chunk = max(1, CHUNK_ELEMENTS // (batch_size * int(shapes.prod(-1).sum())))
        pieces = []
        with torch.autocast(query.device.type, enabled=False):
            for some in queries.split(chunk):
                weights = attention_weights(module, inputs, some).float()  # (B, heads, q, K)
                if not per_head:
                    weights = weights.mean(1)
                total = weights.sum(-1, keepdim=True)
                pieces.append(weights / total.where(total > 0, 1))
        return split_levels(torch.cat(pieces, dim=-2), shapes, count_levels(inputs))

    def _name(self, layer: int) -> str:
        layers = self.layers
        if not layers:
            raise RuntimeError('No cross-attention was recorded: call the model inside of '
                               '`with record_attention(model) as attention:`, and ask for maps afterwards.')
        if not -len(layers) <= layer < len(layers):
            raise IndexError(f'There is no layer {layer}: {len(layers)} were recorded, 0 to {len(layers) - 1} or '
                             f'{-len(layers)} to -1 ({", ".join(layers)}).')
        return layers[layer]

    def _keep(self, module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any, name: str) -> None:
        """The forward hook."""
        signature = inspect.signature(module.forward)
        arguments = signature.bind(*args, **kwargs).arguments
        for parameter in signature.parameters.values():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                arguments.update(arguments.pop(parameter.name, {}))
        self._inputs[name] = {key: value.detach() if isinstance(value, Tensor) else value
                              for key, value in arguments.items()}


@contextmanager
def record_attention(model: nn.Module) -> Iterator[AttentionRecording]:
    """Record where queries look while the model runs::

        with record_attention(model) as attention:
            model(...)
        attention.maps(layer=-1)  # [(B, Q, N, Hl, Wl)] per feature level

    Forward hooks keep references to the inputs of every module named ``cross_attn`` (``crossattention`` in BERT's
    layers) and of the joint encoder's layers; nothing is computed until maps are asked for, and outside of the context
    the model is as it was. Each call replaces what the one before left. In training, queries include the denoising
    ones, which come first.

    Args:
        model: A :class:`SceneQFormer`, or any module whose cross-attentions have that name and are called with mmcv's
            keyword set.

    Raises:
        ValueError: If it has none.
    """
    modules = {name: module for name, module in model.named_modules()
               if name.rpartition('.')[2] in CROSS_ATTENTION or isinstance(module, JointSceneLayer)}
    # Layers of the joint encoder are not told how the memory lies in the images; the encoder is.
    encoders = {name: module for name, module in model.named_modules() if isinstance(module, JointSceneEncoder)}
    if not modules:
        raise ValueError(f'{type(model).__name__} has no cross-attention to record: no module of it is named '
                         f'{" or ".join(CROSS_ATTENTION)}, and none is a JointSceneLayer.')
    recording = AttentionRecording(modules, encoders)
    handles = [module.register_forward_hook(partial(recording._keep, name=name), with_kwargs=True)
               for name, module in {**modules, **encoders}.items()]
    try:
        yield recording
    finally:
        for handle in handles:
            handle.remove()


def count_levels(inputs: dict[str, Any]) -> int:
    """Feature levels of each camera: from the camera matrices or, without, from where the shapes start over."""
    shapes = inputs['spatial_shapes'].tolist()
    for matrices in (inputs.get('cameras') or {}).values():
        if matrices.dim() == 4:  # (B, N, 4, 4)
            return len(shapes) // matrices.shape[1]
    return next((index for index in range(1, len(shapes)) if shapes[index] == shapes[0]), len(shapes))


def split_levels(weights: Tensor, spatial_shapes: Tensor, num_levels: int) -> list[Tensor]:
    """From ``(..., K)`` in the memory's order, camera by camera, level by level, to ``(..., N, Hl, Wl)`` per level."""
    shapes = [tuple(shape) for shape in spatial_shapes.tolist()]
    parts = weights.split([height * width for height, width in shapes], dim=-1)
    return [torch.stack(parts[level::num_levels], dim=-2).unflatten(-1, shapes[level]) for level in range(num_levels)]
