"""Taking cameras away: at random in training, by name in a test."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS

from ..settings import check_count, check_names, check_number
from .loaded_images import check_loader_left, loaded_images


@TRANSFORMS.register_module()
class RandomDropCameras(BaseTransform):
    """Make a random number of cameras missing, so that a model learns to do without (camera dropout).

    Required keys: ``img`` (list of N), ``cam_names``, and maybe ``camera_mask`` (N,) bool. Edits ``img``, black where
    a camera is missing, and ``camera_mask``, False there. Matrices and boxes stay: the boxes that nobody sees any more
    are asked for all the same, as a test does.

    Args:
        max_dropped: The largest number of cameras to take away.
        prob: The share of frames from which cameras are taken: 1 to ``max_dropped``, each number as often.
        min_left: So many are left in any case, cameras that were missing before counted as missing. Of frames with one
            camera, none is taken.

    Raises:
        ValueError: If a number is out of its range.
    """

    def __init__(self, max_dropped: int = 3, prob: float = 0.5, min_left: int = 1) -> None:
        check_count(max_dropped, 'max_dropped of RandomDropCameras')
        check_number(prob, 'prob of RandomDropCameras')
        check_count(min_left, 'min_left of RandomDropCameras')
        self.max_dropped, self.prob, self.min_left = max_dropped, prob, min_left

    def transform(self, results: dict) -> dict:
        """Drop, or leave, the cameras of one frame.

        Raises:
            ValueError: If there are no images, or no more than ``min_left``, which is above 1: it would do nothing.
        """
        number = len(loaded_images(results, 'RandomDropCameras'))
        if 1 < self.min_left >= number:
            raise ValueError(f'RandomDropCameras leaves min_left={self.min_left} cameras, and frames have {number}: it '
                             'would never take one away. Lower min_left, or take it out of the pipeline.')
        # Always drawn, so that what later transforms draw does not depend on what came out.
        drops, share, order = np.random.rand() < self.prob, np.random.rand(), np.random.permutation(number)
        mask = _mask_of(results)
        most = min(self.max_dropped, int(mask.sum()) - self.min_left)
        if drops and most > 0:
            order = order[mask[order]]
            mask[order[:1 + int(share * most)]] = False
            _hide(results, mask)
        return results

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(max_dropped={self.max_dropped}, prob={self.prob}, min_left={self.min_left})')


@TRANSFORMS.register_module()
class DropCameras(BaseTransform):
    """Make these cameras missing, in every frame; edits what :class:`RandomDropCameras` edits.

    Args:
        cam_names: Their names; () drops none.

    Raises:
        ValueError: If ``cam_names`` are no names.
    """

    def __init__(self, cam_names: Sequence[str]) -> None:
        self.cam_names = check_names(cam_names, 'cam_names of DropCameras', at_least=0)

    def transform(self, results: dict) -> dict:
        """Drop the cameras of one frame.

        Raises:
            ValueError: If the frame has no images or no such camera, or would have none left.
        """
        loaded_images(results, 'DropCameras')
        check_loader_left(results, ['cam_names'], 'DropCameras')
        names, mask = list(results['cam_names']), _mask_of(results)
        if unknown := [name for name in self.cam_names if name not in names]:
            raise ValueError(f'DropCameras is to drop {unknown[0]}, but the cameras of sample {results.get("token")} '
                             f'are {", ".join(names)}.')
        mask &= np.array([name not in self.cam_names for name in names])
        if not mask.any():
            raise ValueError(f'DropCameras leaves no camera of sample {results.get("token")}: it drops '
                             f'{", ".join(self.cam_names)}, and the frame has {", ".join(names)}.')
        if not mask.all():
            _hide(results, mask)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(cam_names={self.cam_names})'


def _mask_of(results: dict) -> np.ndarray:
    """``(N,)`` bool, a copy."""
    mask = results.get('camera_mask')
    return np.ones(len(results['img']), dtype=bool) if mask is None else mask.copy()


def _hide(results: dict, mask: np.ndarray) -> None:
    results['camera_mask'] = mask
    # Black in pictures that are drawn of the frame, too; and other models than ours, which know no mask, see nothing.
    results['img'] = [image if there else np.zeros_like(image) for image, there in zip(results['img'], mask)]
