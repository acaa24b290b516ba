"""From the scene tokens of single frames to a batch on the model's device."""
from __future__ import annotations

import torch
from mmdet3d.registry import MODELS
from mmengine.model import BaseDataPreprocessor


@MODELS.register_module()
class SceneTokenPreprocessor(BaseDataPreprocessor):
    """Stacks ``inputs['scene_queries']``, which mmdet3d's ``Det3DDataPreprocessor`` would drop.

    Args:
        dtype: Of the batch: the projector's. Caches may hold another one.
        non_blocking: Whether copies to the device may go on in the background.
    """

    def __init__(self, dtype: str = 'float32', non_blocking: bool = False) -> None:
        super().__init__(non_blocking=non_blocking)
        self.dtype = getattr(torch, dtype)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Move a collated batch to the device, and stack.

        Args:
            data: ``inputs`` with ``scene_queries``, a list of B tensors ``(Q, C)``, or without; ``data_samples``.
            training: As in any preprocessor; makes no difference.

        Returns:
            ``inputs`` with ``scene_queries`` ``(B, Q, C)``, or without any; ``data_samples``.

        Raises:
            ValueError: If the tensors differ in shape.
        """
        data = self.cast_data(data)  # type: ignore[assignment]
        inputs, samples = data['inputs'], data.get('data_samples')
        if 'scene_queries' not in inputs:
            return dict(inputs={}, data_samples=samples)
        queries = inputs['scene_queries']
        shapes = sorted({tuple(query.shape) for query in queries})
        if len(shapes) > 1:
            raise ValueError('Expected scene_queries of one shape (Q, C) in a batch, got '
                             f'{", ".join(map(str, shapes))}: are they from one cache?')
        return dict(inputs=dict(scene_queries=torch.stack(list(queries)).to(self.dtype)), data_samples=samples)
