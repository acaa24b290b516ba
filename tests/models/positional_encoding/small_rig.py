"""Cameras with numbers that one can work out by hand, and rigs of random ones."""
import torch

# Focal length 2 pixels, principal point (1, 2): pixel (2, 2) lies half a metre right of the axis, one metre ahead.
CAM2IMG = torch.tensor([[2., 0, 1, 0], [0, 2, 2, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
# Camera x, y, z = LiDAR x - 2, 5 - z, y - 3: it stands at (2, 3, 5) and looks along y.
LIDAR2CAM = torch.tensor([[1., 0, 0, -2], [0, 0, -1, 5], [0, 1, 0, -3], [0, 0, 0, 1]])


def stacked(cam2img, lidar2cam, width, height):
    """The detector's ``cameras`` of an image size."""
    return dict(cam2img=cam2img, lidar2cam=lidar2cam, lidar2img=cam2img @ lidar2cam,
                image_size=torch.tensor([width, height], dtype=torch.float32))


def one_camera():
    """Image of 4x4 pixels."""
    return stacked(CAM2IMG[None, None], LIDAR2CAM[None, None], 4, 4)


def random_rig(batch_size=2, num_cameras=3, width=56, height=40):
    """Different cameras, each turned and placed at random."""
    shape = (batch_size, num_cameras)
    rotation, _ = torch.linalg.qr(torch.randn(*shape, 3, 3))
    rotation = rotation * torch.linalg.det(rotation).sign()[..., None, None]
    lidar2cam = torch.eye(4).repeat(*shape, 1, 1)
    lidar2cam[..., :3, :3], lidar2cam[..., :3, 3] = rotation, torch.randn(*shape, 3)
    cam2img = torch.eye(4).repeat(*shape, 1, 1)
    cam2img[..., 0, 0], cam2img[..., 1, 1] = 20 + 20 * torch.rand(2, *shape)
    cam2img[..., 0, 2], cam2img[..., 1, 2] = width / 2 + torch.randn(shape), height / 2 + torch.randn(shape)
    return stacked(cam2img, lidar2cam, width, height)


def turned(cameras, degrees):
    """The same rig after the LiDAR frame's points were turned about z, and the rotation (3, 3) that turned them."""
    angle = torch.deg2rad(torch.tensor(degrees))
    rotation = torch.eye(4)
    rotation[:2, :2] = torch.stack((angle.cos(), -angle.sin(), angle.sin(), angle.cos())).view(2, 2)
    lidar2cam = cameras['lidar2cam'] @ rotation.T
    return {**cameras, 'lidar2cam': lidar2cam, 'lidar2img': cameras['cam2img'] @ lidar2cam}, rotation[:3, :3]
