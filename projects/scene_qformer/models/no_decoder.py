"""In the place of a decoder, for queries that have read the images already."""
from __future__ import annotations

from typing import Any

from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor


@MODELS.register_module()
class NoDecoder(BaseModule):
    """Gives the queries back as its only layer; has no parameters.

    Called as :class:`SceneQueryDecoder` is, so that nothing else changes. For queries that depend on the images by
    themselves: with :class:`PatchQueries` the projector reads every patch, as in LLaVA. Learned queries would become
    the same tokens for every scene.
    """

    def forward(self, query: Tensor, reference_points: Tensor, **memory: Any) -> tuple[Tensor, Tensor]:
        """Hand through.

        Args:
            query: ``(B, Q, C)`` content.
            reference_points: ``(B, Q, 3)`` in [0, 1].
            **memory: The rest of a decoder's keywords (``key``, ``value``, ``attn_mask`` ...); not used.

        Returns:
            ``(1, B, Q, C)`` and ``(1, B, Q, 3)``.
        """
        return query[None], reference_points[None]
