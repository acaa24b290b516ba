"""Boxes as regression targets and back."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet3d.registry import TASK_UTILS
from torch import Tensor


@TASK_UTILS.register_module()
class NMSFreeBBoxCoder:
    """nuScenes boxes with velocity, coded for set prediction, and decoded without non-maximum suppression.

    A code is ``(cx, cy, cz, log l, log w, log h, sin yaw, cos yaw, vx, vy)``, 10 numbers: centre of gravity in
    metres in the LiDAR frame, sizes in log metres, velocity in m/s. The parametrisation is DETR3D's (Wang et al.,
    arXiv 2110.06922); the order is mmdet3d's order of a box.

    Args:
        post_center_range: ``(x_min, y_min, z_min, x_max, y_max, z_max)`` metres; decoded boxes whose centre lies
            outside are dropped.
        max_num: Keep at most this many (query, class) pairs, the best first.
        score_threshold: Drop pairs that score less; None keeps them all, which the nuScenes metric likes best.
    """

    code_size = 10

    def __init__(self,
                 post_center_range: Sequence[float],
                 max_num: int = 300,
                 score_threshold: float | None = None) -> None:
        if len(post_center_range) != 6:
            raise ValueError('post_center_range must be (x_min, y_min, z_min, x_max, y_max, z_max), got '
                             f'{len(post_center_range)} numbers: {list(post_center_range)}.')
        self.post_center_range = tuple(post_center_range)
        self.max_num = max_num
        self.score_threshold = score_threshold

    @staticmethod
    def encode(boxes: Tensor) -> Tensor:
        """Code boxes.

        Args:
            boxes: ``(G, 9)``: centre of gravity, l, w, h, yaw, vx, vy in the LiDAR frame.

        Returns:
            ``(G, 10)``.
        """
        center, size, yaw, velocity = boxes.split((3, 3, 1, 2), dim=-1)
        return torch.cat((center, size.clamp(min=1e-3).log(), yaw.sin(), yaw.cos(), velocity), dim=-1)

    @staticmethod
    def decode_boxes(codes: Tensor) -> Tensor:
        """Invert :meth:`encode`: ``(..., 10)`` in, ``(..., 9)`` out; yaw in (-pi, pi]."""
        center, log_size, sine, cosine, velocity = codes.split((3, 3, 1, 1, 2), dim=-1)
        return torch.cat((center, log_size.exp(), torch.atan2(sine, cosine), velocity), dim=-1)

    def decode(self, cls_scores: Tensor, codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pick the best (query, class) pairs of one sample.

        Args:
            cls_scores: ``(Q, num_classes)`` logits.
            codes: ``(Q, 10)``.

        Returns:
            Boxes ``(M, 9)`` (centre of gravity), scores ``(M,)`` in descending order, labels ``(M,)``.
        """
        num_classes = cls_scores.shape[-1]
        scores, pairs = cls_scores.sigmoid().flatten().topk(min(self.max_num, cls_scores.numel()))
        boxes = self.decode_boxes(codes[pairs // num_classes])
        low, high = boxes.new_tensor(self.post_center_range).split(3)
        keep = ((boxes[:, :3] >= low) & (boxes[:, :3] <= high)).all(-1)
        if self.score_threshold is not None:
            keep &= scores >= self.score_threshold
        return boxes[keep], scores[keep], (pairs % num_classes)[keep]
