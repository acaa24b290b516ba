"""Several encodings at once."""
from __future__ import annotations

from collections.abc import Sequence

from mmdet3d.registry import MODELS
from mmengine.model import BaseModule, ModuleList
from torch import Tensor

from .feature_cells import Cameras


@MODELS.register_module()
class SumEncoding(BaseModule):
    """The sum of several encodings.

    Args:
        encodings: Config of each summand.
    """

    def __init__(self, encodings: Sequence[dict]) -> None:
        super().__init__()
        if not encodings:
            raise ValueError('SumEncoding needs at least one entry in `encodings`.')
        # mmengine's list: init_weights does not reach through torch's
        self.encodings = ModuleList(MODELS.build(cfg) for cfg in encodings)

    def forward(self, img_feats: Sequence[Tensor], cameras: Cameras) -> list[Tensor]:
        """Returns one tensor per level that broadcasts to ``(B, N, C, Hl, Wl)``."""
        levels = zip(*(encoding(img_feats, cameras) for encoding in self.encodings))
        return [sum(level[1:], start=level[0]) for level in levels]
