"""The last step: lidar2img, once, and mmdet3d's packing."""
from __future__ import annotations

import cv2
import numpy as np
import torch
from mmdet3d.datasets.transforms import Pack3DDetInputs
from mmdet3d.registry import TRANSFORMS

from ...geometry import compose_lidar2img, invert, to_homogeneous
from ..calibration import is_calibrated
from .finite_inputs import check_finite_inputs

_ALWAYS = ('token', 'cam_names', 'camera_mask', 'cam2img', 'lidar2cam', 'lidar2img')


@TRANSFORMS.register_module()
class PackSceneInputs(Pack3DDetInputs):
    """Compute ``lidar2img`` from the final ``cam2img`` and ``lidar2cam``, then pack as mmdet3d does.

    No earlier transform touches ``lidar2img``: image transforms edit pixels with ``cam2img``, scene transforms edit
    boxes with ``lidar2cam``. Works after mmdet3d's ``LoadMultiViewImageFromFiles`` as well.

    Result::

        inputs:       img (N, 3, H, W), uint8 (float32 after photometric distortion), BGR
        data_samples: Det3DDataSample
            metainfo  cam2img, lidar2cam, lidar2img, ori_cam2img  (N, 4, 4) float64 arrays
                      lidar_aug_matrix (4, 4) float64, original LiDAR frame to the augmented one, if augmented
                      img_shape, pad_shape, ori_shape  (height, width)
                      cam_names, img_path  lists of N
                      camera_mask (N,) bool, camera_faults (name to reason), where cameras are missing
                      sample_idx int; sample_token str; timestamp seconds
                      ego2global, lidar2ego  (4, 4) float64, of the original, not augmented, LiDAR frame
                      box_type_3d, box_mode_3d  mmdet3d's
            gt_instances_3d  bboxes_3d (LiDARInstance3DBoxes, (G, 9)), labels_3d (G,) int64; in training
            eval_ann_info    dict with gt_bboxes_3d, gt_labels_3d ...; in test
            gt_text          list of dict(id=str, type=str, turns=[(question, answer), ...]), where there are questions

    Frames without calibration have none of the matrices. Questions are packed wherever there are some, whatever
    ``keys`` says.

    Args:
        keys: What to pack, as in mmdet3d.
        meta_keys: What to keep in ``metainfo``.

    Raises:
        ValueError: If a key is none that can be packed: mmdet3d would say nothing, and pack nothing.
    """

    META_KEYS = ('cam2img', 'lidar2cam', 'lidar2img', 'ori_cam2img', 'lidar_aug_matrix', 'img_shape', 'pad_shape',
                 'ori_shape', 'cam_names', 'camera_mask', 'camera_faults', 'img_path', 'num_views', 'sample_idx',
                 'sample_token', 'scene_token', 'timestamp', 'ego2global', 'lidar2ego', 'box_type_3d', 'box_mode_3d')

    def __init__(self,
                 keys: tuple[str, ...] = ('img', 'gt_bboxes_3d', 'gt_labels_3d'),
                 meta_keys: tuple[str, ...] = META_KEYS) -> None:
        known = (*self.INPUTS_KEYS, *self.INSTANCEDATA_3D_KEYS, *self.INSTANCEDATA_2D_KEYS, *self.SEG_KEYS, 'gt_text')
        if not isinstance(keys, (list, tuple)) or not set(map(str, keys)) <= set(known):
            raise ValueError(f'Expected keys of {type(self).__name__} to be a list or tuple of some of '
                             f'{", ".join(known)}; got {keys!r}.')
        super().__init__(keys=tuple(key for key in keys if key != 'gt_text'), meta_keys=meta_keys)

    def pack_single_results(self, results: dict) -> dict:
        """Pack one frame.

        Raises:
            ValueError: If images are to be packed and were not loaded, an intrinsic matrix is singular, a number is not
                finite, of ``cam2img`` and ``lidar2cam`` only one is there, or the frame has questions and was mirrored
                or scaled; names the sample.
        """
        if 'img' in self.keys and not len(results.get('img', ())):
            raise ValueError(f'{type(self).__name__} is to pack img, and sample {results.get("token")} has no images. '
                             'Put the transform that loads them before it; behind LoadSceneTokens use PackSceneTokens.')
        for key in ('cam2img', 'lidar2cam', 'ori_cam2img'):  # mmdet3d's own loader leaves nested lists
            if key in results:
                results[key] = to_homogeneous(np.asarray(results[key], dtype=np.float64))
        results.setdefault('cam_names', list(results.get('images', ())))
        if is_calibrated({'The stack': results}, results.get('token')):
            invert(results['cam2img'], f'cam2img of sample {results.get("token")} after the image transforms')
            results['lidar2img'] = compose_lidar2img(results['cam2img'], results['lidar2cam'])
        if 'token' in results:
            results['sample_token'] = results['token']
        for key, source in (('ego2global', results), ('lidar2ego', results.get('lidar_points', {}))):
            if key in source:
                results[key] = np.asarray(source[key], dtype=np.float64)
        check_finite_inputs({key: value for key, value in results.items() if key in self.keys or key in _ALWAYS})
        images = results.pop('img') if 'img' in self.keys and _are_plain(results.get('img')) else None
        packed = super().pack_single_results(results)
        if images is not None:
            packed['inputs']['img'] = torch.from_numpy(_planes(images))
        if 'gt_text' in results:
            _check_text_is_true(results)
            packed['data_samples'].gt_text = results['gt_text']
        return packed


def _are_plain(images: object) -> bool:
    """Whether these are colour images in bytes, all of one size; mmdet3d packs whatever else there is."""
    return isinstance(images, list) and bool(images) and all(
        image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.shape == images[0].shape
        for image in images)


def _planes(images: list[np.ndarray]) -> np.ndarray:
    """N images (H, W, 3) as (N, 3, H, W). OpenCV takes colours apart ten times as fast as numpy and PyTorch copy."""
    planes = np.empty((len(images), 3, *images[0].shape[:2]), np.uint8)
    for image, target in zip(images, planes):
        cv2.split(image, list(target))
    return planes


def _check_text_is_true(results: dict) -> None:
    """In a mirrored world "left" means right, and in a scaled one distances differ. Turning changes no answer."""
    volume = np.linalg.det(results.get('lidar_aug_matrix', np.eye(4)))
    if not np.isclose(volume, 1):
        change = 'mirrored' if volume < 0 else 'scaled'
        raise ValueError(f'Sample {results.get("token")} was {change}, but it has questions, whose texts tell left '
                         'from right and give distances. Take RandomMirrorScene out of the pipeline, and give '
                         'RandomRotateScaleScene scale_range=(1.0, 1.0).')
