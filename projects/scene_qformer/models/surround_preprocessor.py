"""From uint8 images of all cameras to a normalised batch on the model's device, in few steps."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmdet3d.models.data_preprocessors import Det3DDataPreprocessor
from mmdet3d.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class SurroundImagePreprocessor(Det3DDataPreprocessor):
    """mmdet3d's ``Det3DDataPreprocessor``, bit by bit, with all cameras and samples at once.

    That one normalises image by image: three operations and a copy for each of them, which on a GPU is a launch each.
    Here uint8 goes to the device and all images are normalised together. Frames that differ in size, and inputs other
    than images, go the old way.
    """

    def collate_data(self, data: dict) -> dict:
        """Move to the device, stack, normalise, pad.

        Args:
            data: ``inputs`` with ``img``, a list of B tensors ``(N, 3, H, W)``; ``data_samples``.

        Returns:
            ``inputs`` with ``imgs`` ``(B, N, 3, H', W')`` float32, H' and W' multiples of ``pad_size_divisor``.
        """
        if not _alike(data['inputs'].get('img')):
            return super().collate_data(data)
        data = self.cast_data(data)  # type: ignore[assignment]
        batch = torch.stack(data['inputs']['img'])  # a copy, so what follows may write into it
        if self._channel_conversion:
            batch = batch.flip(2)
        batch = batch.float()
        if self._enable_normalize:
            batch = batch.sub_(self.mean).div_(self.std)
        padding = [(-size) % self.pad_size_divisor for size in batch.shape[-2:]]
        if any(padding):
            batch = F.pad(batch, (0, padding[1], 0, padding[0]), value=self.pad_value)
        data['inputs']['imgs'] = batch
        data.setdefault('data_samples', None)
        return data


def _alike(images: Any) -> bool:
    """Whether these are frames of several cameras, all of one shape and dtype."""
    return isinstance(images, list) and bool(images) and all(
        isinstance(image, Tensor) and image.dim() == 4 for image in images) and len(
            {(image.shape, image.dtype) for image in images}) == 1
