"""Two small cameras, back to back, with numbers that one can project by hand."""
import torch
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmengine.structures import InstanceData

# Looks along x from the origin; focal length 20 pixels, image 56 wide and 40 high, cells of 8 pixels.
LIDAR2CAM = torch.tensor([[0., -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
CAM2IMG = torch.tensor([[20., 0, 28, 0], [0, 20, 20, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
ROWS, COLUMNS = 5, 7


def cameras(batch_size=1, focal=20.):
    cam2img = CAM2IMG.clone()
    cam2img[0, 0] = cam2img[1, 1] = focal
    backwards = LIDAR2CAM @ torch.diag(torch.tensor([-1., -1, 1, 1]))
    lidar2cam = torch.stack((LIDAR2CAM, backwards)).expand(batch_size, 2, 4, 4)
    cam2img = cam2img.expand(batch_size, 2, 4, 4)
    return dict(cam2img=cam2img, lidar2cam=lidar2cam, lidar2img=cam2img @ lidar2cam,
                image_size=torch.tensor([56., 40.]))


def sample(boxes, labels):
    boxes = torch.tensor(boxes, dtype=torch.float32).view(-1, 9)
    return Det3DDataSample(gt_instances_3d=InstanceData(
        bboxes_3d=LiDARInstance3DBoxes(boxes, box_dim=9), labels_3d=torch.tensor(labels, dtype=torch.long)))


# One before the camera, 10 m away and 4 m to the left; one behind it, 16 m away, seen by the second camera; one beside.
OBJECTS = sample([[10., 4, -1, 4, 2, 1.5, 0, 0, 0], [-16., 0, 0, 1, 1, 1, 0, 0, 0], [0., 30, 0, 1, 1, 1, 0, 0, 0]],
                 [2, 0, 1])


def features(batch_size=1):
    return torch.randn(batch_size, 2, 8, ROWS, COLUMNS, generator=torch.Generator().manual_seed(1))
