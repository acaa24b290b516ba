"""The images on which INT8 is calibrated."""
from __future__ import annotations

from collections.abc import Iterable, Iterator

from mmengine.dataset import pseudo_collate
from torch import Tensor

from ..models.scene_qformer import SceneQFormer


def calibration_images(model: SceneQFormer, frames: Iterable[dict]) -> Iterator[Tensor]:
    """Normalised images ``(1, N, 3, H, W)`` of each frame; prepared one by one, lest all are in memory.

    Args:
        model: Normalises them, with its data preprocessor.
        frames: As the test pipeline gives them.
    """
    for frame in frames:
        yield model.data_preprocessor(pseudo_collate([frame]), training=False)['inputs']['imgs']
