"""From images and metas to what queries and decoders read: features, camera matrices, the memory."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .camera_mask import CAMERA_MASK, encode_present, missing_cells

CAMERA_MATRICES = ('lidar2img', 'lidar2cam', 'cam2img')


def extract_surround_feats(backbone: nn.Module, neck: nn.Module | None, imgs: Tensor,
                           camera_mask: Tensor | None = None) -> list[Tensor]:
    """Features of all cameras in one batch; as :meth:`SceneQFormer.extract_feat`."""
    if imgs.dim() != 5:
        raise ValueError('Expected imgs (B, N, 3, H, W): batch, cameras, channels, height, width; '
                         f'got {tuple(imgs.shape)}. Add the batch or camera dimension with imgs[None].')

    def encode(images: Tensor) -> Sequence[Tensor]:
        feats = backbone(images)
        return feats if neck is None else neck(feats)

    feats = encode(imgs.flatten(0, 1)) if camera_mask is None else encode_present(encode, imgs, camera_mask)
    return [feat.unflatten(0, imgs.shape[:2]) for feat in feats]


def stack_cameras(batch_input_metas: list[dict] | None, imgs: Tensor,
                  camera_mask: Tensor | None = None) -> dict[str, Tensor]:
    """Stack the metas' camera matrices once, for all parts.

    Args:
        batch_input_metas: B dicts with ``(N, 4, 4)`` arrays under some of ``lidar2img``, ``lidar2cam``, ``cam2img``.
        imgs: ``(B, N, 3, H, W)``.
        camera_mask: ``(B, N)`` bool on the CPU, as :func:`read_camera_mask` gives it.

    Returns:
        ``(B, N, 4, 4)`` float32 by name, of those that every meta has, and ``image_size`` ``(2,)``: width and height of
        the padded image in pixels. With a mask, ``camera_mask`` ``(B, N)``, and the identity for the matrices of
        missing cameras, which need not be finite.
    """
    cameras = {'image_size': torch.tensor(imgs.shape[:-3:-1], dtype=torch.float32, device=imgs.device)}
    for name in CAMERA_MATRICES:
        if batch_input_metas and all(name in meta for meta in batch_input_metas):
            matrices = np.stack([np.asarray(meta[name], dtype=np.float32) for meta in batch_input_metas])
            if camera_mask is not None:
                matrices[~camera_mask.numpy()] = np.eye(4)
            cameras[name] = torch.from_numpy(matrices).to(imgs.device, non_blocking=True)
    if camera_mask is not None:
        cameras[CAMERA_MASK] = camera_mask.to(imgs.device, non_blocking=True)
    return cameras


def flatten_memory(img_feats: list[Tensor], encodings: list[Tensor],
                   cameras: dict[str, Tensor] | None = None) -> dict[str, Any]:
    """Lay all cameras and levels out as one sequence, camera by camera, level by level, row by row.

    Args:
        img_feats: One ``(B, N, C, Hl, Wl)`` per level.
        encodings: Broadcastable to them.
        cameras: As of :func:`stack_cameras`; of them, only ``camera_mask`` is read.

    Returns:
        The decoder's ``key`` (features), ``key_pos`` (encodings), ``value`` (their sum: the memory), each
        ``(B, K, C)``, ``spatial_shapes`` ``(N*L, 2)``, ``level_start_index`` ``(N*L,)``, and ``level_shapes``: the L
        pairs (Hl, Wl) of each camera as Python integers, for those who must not wait for a device;
        where cameras are missing, ``key_padding_mask`` ``(B, K)`` bool, True at their cells.
    """
    def flatten(levels: list[Tensor]) -> Tensor:
        # per level (B, N, C, Hl, Wl) -> (B, N, Hl*Wl, C); joined to (B, N * sum(Hl*Wl), C)
        return torch.cat([level.flatten(3).transpose(2, 3) for level in levels], dim=2).flatten(1, 2)

    key = flatten(img_feats)
    key_pos = flatten([encoding.expand_as(feat) for encoding, feat in zip(encodings, img_feats)])
    level_shapes = tuple((feat.shape[-2], feat.shape[-1]) for feat in img_feats)
    shapes = torch.tensor(level_shapes * img_feats[0].shape[1], device=key.device)
    sizes = shapes.prod(-1)
    memory: dict[str, Any] = dict(
        key=key,
        key_pos=key_pos,
        value=key + key_pos,
        spatial_shapes=shapes,
        level_start_index=sizes.cumsum(0) - sizes,
        level_shapes=level_shapes)
    missing = missing_cells(cameras or {}, sum(height * width for height, width in level_shapes))
    return memory if missing is None else dict(memory, key_padding_mask=missing)
