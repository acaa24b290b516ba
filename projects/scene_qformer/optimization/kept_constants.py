"""What depends on the shapes alone, computed once and kept."""
from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..models.positional_encoding import CameraIDEncoding, Sine2DEncoding, SumEncoding

# Their codes depend on the shapes and their own weights; rays and depth bins follow the calibration of each frame.
CONSTANT_ENCODINGS = (Sine2DEncoding, CameraIDEncoding)


class Kept:
    """The results of a function by key.

    None is ever thrown away: recorded graphs read them where they lie, and a model sees few image sizes.
    """

    def __init__(self) -> None:
        self._values: dict[Hashable, Any] = {}

    def get(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """The result for a key, computed if there is none."""
        if key not in self._values:
            with torch.inference_mode(False), torch.no_grad():  # lest only inference_mode could read it later
                self._values[key] = compute()
        return self._values[key]


class KeptEncoding(nn.Module):
    """Called as the positional encoding that it is made from.

    Args:
        encoding: Its twin; the weights must not change any more.
    """

    def __init__(self, encoding: nn.Module) -> None:
        super().__init__()
        parts = list(encoding.encodings) if type(encoding) is SumEncoding else [encoding]
        self.constant = nn.ModuleList(part for part in parts if type(part) in CONSTANT_ENCODINGS)
        self.changing = nn.ModuleList(part for part in parts if type(part) not in CONSTANT_ENCODINGS)
        self._kept = Kept()

    def forward(self, img_feats: Sequence[Tensor], cameras: dict[str, Tensor]) -> list[Tensor]:
        """As the twin's; up to rounding where the sum is taken in another order."""
        first = img_feats[0]
        summands = [encoding(img_feats, cameras) for encoding in self.changing]
        if len(self.constant):
            key = (first.device, first.dtype, first.shape[1], tuple(feat.shape[-2:] for feat in img_feats))
            summands.insert(0, self._kept.get(key, lambda: add_levels(
                [encoding(img_feats, cameras) for encoding in self.constant])))
        return add_levels(summands)


def add_levels(summands: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """The sum, level by level."""
    return [sum(level[1:], start=level[0]) for level in zip(*summands, strict=True)]
