"""The memory that the decoder reads, laid out without the host waiting for the device."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .kept_constants import Kept


class StaticShapes:
    """The small tensors of ``stack_cameras`` and ``flatten_memory`` that hold shapes, kept between calls.

    Making a tensor on a GPU from Python numbers makes the host wait for all that the GPU has to do.
    """

    def __init__(self) -> None:
        self._image_sizes, self._levels = Kept(), Kept()

    def image_size(self, imgs: Tensor) -> Tensor:
        """``(2,)`` float32, width and height in pixels."""
        size = imgs.shape[:-3:-1]
        return self._image_sizes.get((size, imgs.device), lambda: torch.tensor(
            size, dtype=torch.float32, device=imgs.device))

    def levels(self, img_feats: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """``spatial_shapes`` ``(N*L, 2)`` and ``level_start_index`` ``(N*L,)`` int64."""
        sizes = tuple(tuple(feat.shape[-2:]) for feat in img_feats) * img_feats[0].shape[1]
        device = img_feats[0].device

        def compute() -> tuple[Tensor, Tensor]:
            shapes = torch.tensor(sizes, device=device)
            cells = shapes.prod(-1)
            return shapes, cells.cumsum(0) - cells

        return self._levels.get((sizes, device), compute)


def lay_out_memory(img_feats: Sequence[Tensor], encodings: Sequence[Tensor], shapes: StaticShapes,
                   value_only: bool = False) -> dict[str, Any]:
    """As :func:`scene_qformer.models.surround_memory.flatten_memory`, its twin.

    Args:
        img_feats: One ``(B, N, C, Hl, Wl)`` per level.
        encodings: Broadcastable to them.
        shapes: Keeps what holds shapes.
        value_only: Leave ``key`` and ``key_pos`` out, for decoders that read their sum alone.

    Returns:
        The decoder's keywords.
    """
    spatial_shapes, level_start_index = shapes.levels(img_feats)
    memory: dict[str, Any] = dict(
        spatial_shapes=spatial_shapes,
        level_start_index=level_start_index,
        level_shapes=tuple((feat.shape[-2], feat.shape[-1]) for feat in img_feats))
    if value_only:
        memory['value'] = flatten_levels([feat + code for feat, code in zip(img_feats, encodings, strict=True)])
        return memory
    key = flatten_levels(img_feats)
    key_pos = flatten_levels([code.expand_as(feat) for code, feat in zip(encodings, img_feats, strict=True)])
    return dict(memory, key=key, key_pos=key_pos, value=key + key_pos)


def flatten_levels(levels: Sequence[Tensor]) -> Tensor:
    """One ``(B, N, C, Hl, Wl)`` per level to ``(B, N * sum(Hl*Wl), C)``: camera by camera, level by level, by rows."""
    flat = [level.flatten(3).transpose(2, 3) for level in levels]  # (B, N, Hl*Wl, C)
    return (flat[0] if len(flat) == 1 else torch.cat(flat, dim=2)).flatten(1, 2)
