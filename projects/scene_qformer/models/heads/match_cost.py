"""Costs of the Hungarian matching that mmdet does not have."""
from __future__ import annotations

import torch
from mmdet3d.registry import TASK_UTILS
from mmengine.structures import InstanceData
from torch import Tensor


@TASK_UTILS.register_module()
class BBox3DL1Cost:
    """L1 distance between coded boxes.

    Args:
        weight: Factor of the cost.
        num_codes: How many leading codes count. The default leaves out the velocity, which a single frame hardly
            shows and which would disturb the matching.
    """

    def __init__(self, weight: float = 1., num_codes: int = 8) -> None:
        self.weight = weight
        self.num_codes = num_codes

    def __call__(self,
                 pred_instances: InstanceData,
                 gt_instances: InstanceData,
                 img_meta: dict | None = None,
                 **kwargs) -> Tensor:
        """Cost matrix.

        Args:
            pred_instances: With ``bboxes`` ``(Q, 10)``, coded.
            gt_instances: With ``bboxes`` ``(G, 10)``, coded.

        Returns:
            ``(Q, G)`` float32.
        """
        predicted = pred_instances.bboxes[:, :self.num_codes].float()
        target = gt_instances.bboxes[:, :self.num_codes].float()
        return torch.cdist(predicted, target, p=1) * self.weight
