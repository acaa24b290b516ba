"""Moving the whole scene: boxes, and the cameras with them, so that every point keeps its pixel."""
from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS

from ...geometry import edit_cam2img, invert, mirror_matrix
from ..settings import check_number, check_numbers, check_scale_range
from .image_geometry import mirrored_camera_order
from .loaded_images import check_loader_left, loaded_images

_MIRROR_X = np.diag((-1.0, 1.0, 1.0, 1.0))


def _check_calibration(results: dict, transform: str) -> None:
    if 'lidar2cam' not in results:
        raise ValueError(f'{transform} moves cameras and needs lidar2cam, which sample {results.get("token")} does not '
                         'have. Take it out of the pipeline of frames without calibration, or use a dataset with info '
                         'files.')


def _note_augmentation(results: dict, matrix: np.ndarray) -> None:
    results['lidar_aug_matrix'] = matrix @ results.get('lidar_aug_matrix', np.eye(4))


@TRANSFORMS.register_module()
class RandomMirrorScene(BaseTransform):
    """Mirror the world left to right, with boxes and images, in a share of all frames.

    In nuScenes' LiDAR frame x points to the right, so points go from (x, y, z) to (-x, y, z). Every image is mirrored,
    and left cameras trade places with right ones, so that the rig looks like the original one. With the width W::

        M = diag(-1, 1, 1, 1)                      the LiDAR frame's and each camera's x axis turn round
        lidar2cam' = M lidar2cam M                 a rotation and a shift again
        cam2img'   = [u -> W - u] cam2img M        focal lengths stay positive, cx becomes W - cx

    so that ``lidar2img' M p`` is the mirrored pixel of ``lidar2img p``, exactly.

    Edits ``img, cam2img, ori_cam2img, lidar2cam, img_path, camera_mask, gt_bboxes_3d``; ``cam_names`` stay; sets
    ``lidar_aug_matrix``. To be used before padding. ``img_path[n]`` is then the file that image n was mirrored from,
    and ``ori_cam2img[n]`` belongs to that file.

    Args:
        prob: The share of frames to mirror.

    Raises:
        ValueError: If ``prob`` is no share.
    """

    def __init__(self, prob: float = 0.5) -> None:
        check_number(prob, 'prob of RandomMirrorScene')
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Mirror, or leave, one frame.

        Raises:
            ValueError: If there are no images or no calibration, if another loader than ``LoadSurroundImages`` left out
                what it adds, or if the images were padded, as the padding would move to the left.
        """
        images = loaded_images(results, 'RandomMirrorScene')
        _check_calibration(results, 'RandomMirrorScene')
        check_loader_left(results, ['cam_names', 'img_path', 'cam2img', 'ori_cam2img'], 'RandomMirrorScene')
        if np.random.rand() >= self.prob:
            return results
        height, width = images[0].shape[:2]
        if tuple(results['img_shape']) != (height, width):
            raise ValueError(f'RandomMirrorScene must come before padding: img_shape is {results["img_shape"]}, but '
                             f'the images are {(height, width)}.')
        order = mirrored_camera_order(results['cam_names'])
        results['img'] = [np.ascontiguousarray(images[n][:, ::-1]) for n in order]
        results['img_path'] = [results['img_path'][n] for n in order]
        results['ori_cam2img'] = results['ori_cam2img'][order]
        if 'camera_mask' in results:
            results['camera_mask'] = results['camera_mask'][order]
        results['cam2img'] = edit_cam2img(results['cam2img'][order], mirror_matrix(width)) @ _MIRROR_X
        results['lidar2cam'] = _MIRROR_X @ results['lidar2cam'][order] @ _MIRROR_X
        if 'gt_bboxes_3d' in results:
            results['gt_bboxes_3d'].flip('vertical')  # mmdet3d's name for turning the LiDAR's x axis round
        _note_augmentation(results, _MIRROR_X)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(prob={self.prob})'


@TRANSFORMS.register_module()
class RandomRotateScaleScene(BaseTransform):
    """Rotate the scene about the LiDAR's z axis and scale it, boxes (with velocities) and cameras alike.

    With the rotation R and the scale s, points go from p to ``s R p`` and camera points from c to ``s c``::

        lidar2cam' = diag(s, s, s, 1) lidar2cam (s R)^-1      a rotation and a shift again

    The pixels stay, exactly, and depths grow by s: it is the same picture of a rig and a world that both are s times as
    large. Edits ``lidar2cam, gt_bboxes_3d``; sets ``lidar_aug_matrix``.

    Args:
        rotation_range: Angle in radians, from x towards y, drawn uniformly.
        scale_range: Scale, drawn uniformly.

    Raises:
        ValueError: If a range is none, or its angles are beyond a full turn.
    """

    def __init__(self,
                 rotation_range: tuple[float, float] = (-0.3925, 0.3925),
                 scale_range: tuple[float, float] = (0.95, 1.05)) -> None:
        check_numbers(rotation_range, 'rotation_range of RandomRotateScaleScene, in radians,', -6.2832, 6.2832)
        check_scale_range(scale_range, 'RandomRotateScaleScene')
        self.rotation_range = rotation_range
        self.scale_range = scale_range

    def transform(self, results: dict) -> dict:
        """Rotate and scale one frame.

        Raises:
            ValueError: If there is no calibration.
        """
        _check_calibration(results, 'RandomRotateScaleScene')
        angle = np.random.uniform(*self.rotation_range)
        scale = np.random.uniform(*self.scale_range)
        cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
        scene = np.array([[cosine, -sine, 0, 0], [sine, cosine, 0, 0], [0, 0, scale, 0], [0, 0, 0, 1.0]])
        results['lidar2cam'] = np.diag((scale, scale, scale, 1.0)) @ results['lidar2cam'] @ invert(scene)
        if 'gt_bboxes_3d' in results:
            results['gt_bboxes_3d'].rotate(angle)
            results['gt_bboxes_3d'].scale(scale)
        _note_augmentation(results, scene)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(rotation_range={self.rotation_range}, scale_range={self.scale_range})'
