import torch
from mmengine.structures import InstanceData

from scene_qformer.models import BBox3DL1Cost


def test_l1_of_all_codes_but_the_velocity():
    predicted = torch.zeros(2, 10)
    predicted[1] = torch.arange(10.)
    target = torch.ones(3, 10)
    target[2, 8:] = 99.
    cost = BBox3DL1Cost(weight=0.5)(InstanceData(bboxes=predicted), InstanceData(bboxes=target))
    far = 0.5 * (1 + 0 + 1 + 2 + 3 + 4 + 5 + 6)
    assert torch.allclose(cost, torch.tensor([[4., 4., 4.], [far, far, far]]))
