"""A batch without data: random images, a ring of cameras and random objects, in the form that a data loader gives."""
from __future__ import annotations

import numpy as np
import torch
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmengine.config import Config
from mmengine.structures import InstanceData

from .dataset_config import innermost_dataset
from .datasets.settings import read_size
from .geometry import compose_lidar2img

FIELD_OF_VIEW = np.radians(70)  # horizontal, as five of the six nuScenes cameras
CAMERA_HEIGHT = -0.3  # metres, LiDAR frame: the LiDAR of nuScenes stands higher than the cameras


def random_batch(num_cameras: int = 6,
                 image_size: tuple[int, int] = (336, 336),
                 batch_size: int = 1,
                 num_classes: int = 10,
                 num_objects: int = 30) -> dict:
    """What ``model.train_step``, ``model.test_step`` and ``model.data_preprocessor`` take.

    Args:
        num_cameras: N.
        image_size: Width and height in pixels.
        batch_size: B.
        num_classes: Labels are drawn from as many.
        num_objects: Objects a sample.

    Returns:
        ``inputs['img']``: B tensors ``(N, 3, H, W)``, uint8. ``data_samples``: B samples with ``lidar2img``,
        ``lidar2cam``, ``cam2img`` ``(N, 4, 4)``, ``box_type_3d`` and ``gt_instances_3d``: boxes with velocity up to
        50 m away, in the LiDAR frame.

    Raises:
        ValueError: If there is no such image size, or no camera or sample.
    """
    width, height = read_size(image_size, 'the image size')
    if num_cameras < 1 or batch_size < 1:
        raise ValueError('Expected at least one camera and one sample in a random batch, got '
                         f'num_cameras={num_cameras}, batch_size={batch_size}.')
    matrices = camera_ring(num_cameras, image_size)
    images, samples = [], []
    for index in range(batch_size):
        images.append(torch.randint(0, 256, (num_cameras, 3, height, width), dtype=torch.uint8))
        boxes = torch.cat((
            torch.rand(num_objects, 3) * torch.tensor((100., 100., 2.)) - torch.tensor((50., 50., 2.)),  # centre
            torch.rand(num_objects, 3) * 4 + 0.5,  # size
            torch.rand(num_objects, 1) * 2 * np.pi,  # yaw
            torch.randn(num_objects, 2)), dim=-1)  # velocity
        samples.append(Det3DDataSample(
            metainfo=dict(sample_token=f'random_{index}', box_type_3d=LiDARInstance3DBoxes, num_views=num_cameras,
                          img_shape=(height, width), **matrices),
            gt_instances_3d=InstanceData(bboxes_3d=LiDARInstance3DBoxes(boxes, box_dim=9),
                                         labels_3d=torch.randint(num_classes, (num_objects, )))))
    return dict(inputs=dict(img=images), data_samples=samples)


def random_batch_like(cfg: Config, batch_size: int = 1, image_size: tuple[int, int] | None = None) -> dict:
    """:func:`random_batch` with the cameras, image size and classes of a config.

    Args:
        cfg: Config with ``test_dataloader``; the last ``size`` in its pipeline is the image size.
        batch_size: B.
        image_size: Width and height in pixels, if not the config's.

    Raises:
        ValueError: If the pipeline names no size and none is given, or the test set is several.
    """
    dataset = innermost_dataset(cfg.test_dataloader.dataset)
    sizes = [step['size'] for step in dataset.pipeline if 'size' in step]
    if image_size is None and not sizes:
        raise ValueError('No transform in test_dataloader.dataset.pipeline has a `size`: give the image size '
                         '(--image-size WIDTH HEIGHT).')
    cameras = dataset.get('cam_names')
    classes = (dataset.get('metainfo') or {}).get('classes')
    return random_batch(len(cameras) if cameras else 6, sizes[-1] if image_size is None else image_size, batch_size,
                        len(classes) if classes else 10)


def camera_ring(num_cameras: int, image_size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Cameras that stand together and look evenly around.

    Args:
        num_cameras: N; the first looks ahead (+x), the others follow counter-clockwise.
        image_size: Width and height in pixels.

    Returns:
        ``lidar2img``, ``lidar2cam`` and ``cam2img``, each ``(N, 4, 4)``.
    """
    width, height = image_size
    focal = width / 2 / np.tan(FIELD_OF_VIEW / 2)
    cam2img = np.array([[focal, 0, width / 2, 0], [0, focal, height / 2, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    lidar2cam = []
    for yaw in np.arange(num_cameras) * 2 * np.pi / num_cameras:
        sine, cosine = np.sin(yaw), np.cos(yaw)
        # camera axes: x right, y down, z ahead
        lidar2cam.append([[sine, -cosine, 0, 0], [0, 0, -1, CAMERA_HEIGHT], [cosine, sine, 0, 0], [0, 0, 0, 1]])
    matrices = dict(lidar2cam=np.array(lidar2cam), cam2img=np.tile(cam2img, (num_cameras, 1, 1)))
    return dict(lidar2img=compose_lidar2img(matrices['cam2img'], matrices['lidar2cam']), **matrices)
