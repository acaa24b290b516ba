"""What goes to the model is finite: told where sample, camera and field are still known."""
from __future__ import annotations

import numpy as np
import torch

ADVICE = 'Correct it where it comes from (the info file, the image file, the token cache), or leave the sample out.'
# Masked cameras may hold anything: no part of the model reads them.
_OF_CAMERAS = ('cam2img', 'lidar2cam', 'lidar2img')


def check_finite_inputs(results: dict) -> None:
    """Check the fields that are there: images in floating point, camera matrices, boxes, scene queries.

    nuScenes has boxes without a known velocity; mmdet3d's datasets have set these to 0 by now.

    Args:
        results: Of a pipeline, before packing; ``camera_mask`` (N,) says which cameras count.

    Raises:
        ValueError: Names the sample, the field, its first place and the number.
    """
    token = results.get('token')
    names = list(results.get('cam_names') or [])
    there = results.get('camera_mask')
    for field in _OF_CAMERAS:
        for index, matrix in enumerate(results.get(field, ())):
            if there is None or there[index]:
                _check(np.asarray(matrix), f'{field} of camera {_name(names, index)} of sample {token}')
    images = results.get('img')
    for index, image in enumerate(images if isinstance(images, list) else []):
        if there is None or there[index]:
            _check(image, f'the image of camera {_name(names, index)} of sample {token}')
    if 'gt_bboxes_3d' in results:
        _check(results['gt_bboxes_3d'].tensor, f'gt_bboxes_3d (box, number of the box) of sample {token}')
    if 'scene_queries' in results:
        _check(results['scene_queries'], f'the cached scene queries (query, channel) of sample {token}')


def _name(names: list[str], index: int) -> str:
    return names[index] if index < len(names) else str(index)


def _check(values: np.ndarray | torch.Tensor, what: str) -> None:
    array = values.numpy() if isinstance(values, torch.Tensor) else values
    if array.dtype.kind != 'f' or np.isfinite(array).all():
        return
    bad = np.argwhere(~np.isfinite(array))
    place = tuple(int(index) for index in bad[0])
    raise ValueError(f'Expected finite numbers in {what}, found {array[place]} at {place}'
                     f'{f" and {len(bad) - 1} more" if len(bad) > 1 else ""}. {ADVICE}')
