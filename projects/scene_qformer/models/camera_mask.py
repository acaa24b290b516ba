"""Missing cameras: who is there, and how the others' features stay free of those that are not.

``camera_mask`` in the metas of a data sample, ``(N,)`` bool, is False at a camera that is missing: its file was broken,
or a transform dropped it. Its pixels never enter the backbone, where batch norm would count them in; its features are
zero, its matrices the identity, so that nothing of it is left that could be read; and attention, queries and losses
pass it by. What the parts find under ``cameras['camera_mask']`` is there only if a camera of the batch is missing: else
nothing is masked, and nothing is slower.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

CAMERA_MASK = 'camera_mask'


def read_camera_mask(batch_input_metas: Sequence[dict] | None, num_cameras: int) -> Tensor | None:
    """Which cameras are there, from the metas, without a word of any device.

    Args:
        batch_input_metas: B dicts, or None; those without ``camera_mask`` have all cameras.
        num_cameras: N.

    Returns:
        ``(B, N)`` bool on the CPU, True at cameras that are there; None if all are.

    Raises:
        ValueError: If a mask has another length, or a sample has no camera at all.
    """
    if not batch_input_metas or not any(CAMERA_MASK in meta for meta in batch_input_metas):
        return None
    masks = []
    for meta in batch_input_metas:
        token = meta.get('sample_token', '?')
        mask = np.asarray(meta.get(CAMERA_MASK, np.ones(num_cameras, dtype=bool)))
        if mask.shape != (num_cameras, ) or mask.dtype != bool:
            raise ValueError(f'Expected camera_mask of sample {token} as ({num_cameras},) bool, True at the cameras '
                             f'that are there; got {mask.dtype} {mask.shape}.')
        if not mask.any():
            raise ValueError(f'All {num_cameras} cameras of sample {token} are missing, so there is nothing to look '
                             'at. Leave such frames out.')
        masks.append(mask)
    stacked = torch.from_numpy(np.stack(masks))
    return None if stacked.all() else stacked


def encode_present(encode: Callable[[Tensor], Sequence[Tensor]], imgs: Tensor, camera_mask: Tensor) -> list[Tensor]:
    """Features of the cameras that are there; zeros for the others, whatever their images hold.

    Args:
        encode: From images ``(M, 3, H, W)`` to levels ``(M, C, Hl, Wl)``.
        imgs: ``(B, N, 3, H, W)``.
        camera_mask: ``(B, N)`` bool, on the CPU.

    Returns:
        One ``(B * N, C, Hl, Wl)`` per level.
    """
    present = camera_mask.flatten().nonzero()[:, 0].to(imgs.device, non_blocking=True)
    return [feat.new_zeros(camera_mask.numel(), *feat.shape[1:]).index_copy(0, present, feat)
            for feat in encode(imgs.flatten(0, 1).index_select(0, present))]


def missing_cells(cameras: dict[str, Tensor], num_cells: int) -> Tensor | None:
    """Which cells belong to a missing camera, where cells are laid out camera by camera.

    Args:
        cameras: With ``camera_mask`` ``(B, N)`` bool, or without.
        num_cells: Cells S of each camera.

    Returns:
        ``(B, N * S)`` bool, True at cells to pass by: a ``key_padding_mask``; None if no camera is missing.
    """
    camera_mask = cameras.get(CAMERA_MASK)
    return None if camera_mask is None else ~camera_mask.repeat_interleave(num_cells, dim=1)
