"""Editing pixels together with the intrinsics. All keep ``cam2img`` exact by the pixel rule of ``geometry.py``.

Frames without calibration have no ``cam2img``; then only the pixels are edited.
"""
from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS

from ...geometry import crop_matrix, edit_cam2img, mirror_matrix, pixel_map_between_centers, resize_matrix
from ..settings import check_count, check_number, check_numbers, check_scale_range, read_size
from .loaded_images import loaded_images


def _set_images(results: dict, images: list[np.ndarray], pixel_maps: np.ndarray) -> dict:
    """Store edited images with their intrinsics; ``pixel_maps`` (N, 3, 3) or (3, 3) takes old pixels to new ones."""
    results['img'] = images
    if 'cam2img' in results:
        results['cam2img'] = edit_cam2img(results['cam2img'], pixel_maps)
    results['img_shape'] = results['pad_shape'] = images[0].shape[:2]
    return results


@TRANSFORMS.register_module()
class ResizeSurroundImages(BaseTransform):
    """Resize all images to one size.

    Args:
        size: (width, height) in pixels.
        keep_ratio: False scales both axes on their own and keeps the whole view. True scales both alike, so that the
            image covers ``size``; :class:`CropSurroundImages` may then cut it to that.

    Raises:
        ValueError: If ``size`` is none.
    """

    def __init__(self, size: tuple[int, int], keep_ratio: bool = False) -> None:
        self.size = read_size(size, 'size of ResizeSurroundImages')
        self.keep_ratio = keep_ratio

    def transform(self, results: dict) -> dict:
        """Edit ``img`` and ``cam2img``.

        Raises:
            ValueError: If there are no images.
        """
        height, width = loaded_images(results, 'ResizeSurroundImages')[0].shape[:2]
        new_width, new_height = self.size
        if self.keep_ratio:
            scale = max(new_width / width, new_height / height)
            # rounding up, so that the result does cover the size
            new_width, new_height = int(np.ceil(width * scale - 1e-6)), int(np.ceil(height * scale - 1e-6))
        shrinks = new_width <= width and new_height <= height
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        images = [cv2.resize(image, (new_width, new_height), interpolation=interpolation) for image in results['img']]
        return _set_images(results, images, resize_matrix(new_width / width, new_height / height))

    def __repr__(self) -> str:
        return f'{type(self).__name__}(size={self.size}, keep_ratio={self.keep_ratio})'


@TRANSFORMS.register_module()
class CropSurroundImages(BaseTransform):
    """Cut the same rectangle out of all images.

    Args:
        size: (width, height) of the rectangle in pixels.
        anchor: Where it lies: the share of the cut-off pixels that fall away on the left and on the top. (0.5, 1)
            keeps the middle of the bottom, which drops sky.

    Raises:
        ValueError: If ``size`` is none, or ``anchor`` is not two shares.
    """

    def __init__(self, size: tuple[int, int], anchor: tuple[float, float] = (0.5, 0.5)) -> None:
        check_numbers(anchor, 'anchor of CropSurroundImages')
        self.size = read_size(size, 'size of CropSurroundImages')
        self.anchor = (float(anchor[0]), float(anchor[1]))

    def transform(self, results: dict) -> dict:
        """Edit ``img`` and ``cam2img``.

        Raises:
            ValueError: If the rectangle is larger than the images, or there are none.
        """
        height, width = loaded_images(results, 'CropSurroundImages')[0].shape[:2]
        new_width, new_height = self.size
        if new_width > width or new_height > height:
            raise ValueError(f'Cannot crop {new_width}x{new_height} from images of {width}x{height} (width x height); '
                             'resize to at least that size first.')
        left, top = round(self.anchor[0] * (width - new_width)), round(self.anchor[1] * (height - new_height))
        images = [image[top:top + new_height, left:left + new_width] for image in results['img']]
        return _set_images(results, images, crop_matrix(left, top))

    def __repr__(self) -> str:
        return f'{type(self).__name__}(size={self.size}, anchor={self.anchor})'


@TRANSFORMS.register_module()
class PadSurroundImages(BaseTransform):
    """Pad all images on the right and below, which leaves the intrinsics as they are.

    ``img_shape`` keeps the size before padding, ``pad_shape`` is the size after.

    Args:
        size_divisor: Both sides become multiples of this.
        value: Grey level of the padding.

    Raises:
        ValueError: If a number is out of its range.
    """

    def __init__(self, size_divisor: int, value: int = 0) -> None:
        check_count(size_divisor, 'size_divisor of PadSurroundImages')
        check_number(value, 'value of PadSurroundImages', 0, 255)
        self.size_divisor = size_divisor
        self.value = value

    def transform(self, results: dict) -> dict:
        """Edit ``img``.

        Raises:
            ValueError: If there are no images.
        """
        height, width = loaded_images(results, 'PadSurroundImages')[0].shape[:2]
        bottom, right = -height % self.size_divisor, -width % self.size_divisor
        results['img'] = [
            cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=(self.value, ) * 3)
            for image in results['img']
        ]
        results['img_shape'], results['pad_shape'] = (height, width), (height + bottom, width + right)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(size_divisor={self.size_divisor}, value={self.value})'


@TRANSFORMS.register_module()
class RandomWarpSurroundImages(BaseTransform):
    """Random zoom, shift, rotation and mirroring of the pixels in one warp; the images keep their size.

    The boxes stay where they are: only the intrinsics change, exactly. What comes from outside the image is black.

    Args:
        scale_range: Zoom about the image's centre, drawn uniformly.
        shift_range: The largest shift along u and v, as shares of width and height.
        max_rotation: The largest rotation about the image's centre, in degrees.
        mirror_prob: How often an image is mirrored. This makes the focal length along u negative; a mirrored *world*,
            with proper cameras, is :class:`RandomMirrorScene`.
        per_camera: Draw for each camera on its own, instead of once for all.

    Raises:
        ValueError: If a number is out of its range.
    """

    def __init__(self,
                 scale_range: tuple[float, float] = (1.0, 1.0),
                 shift_range: tuple[float, float] = (0.0, 0.0),
                 max_rotation: float = 0.0,
                 mirror_prob: float = 0.0,
                 per_camera: bool = True) -> None:
        check_scale_range(scale_range, 'RandomWarpSurroundImages')
        check_numbers(shift_range, 'shift_range of RandomWarpSurroundImages, shares of width and height,')
        check_number(max_rotation, 'max_rotation of RandomWarpSurroundImages, in degrees,', 0, 180)
        check_number(mirror_prob, 'mirror_prob of RandomWarpSurroundImages')
        self.scale_range = scale_range
        self.shift_range = shift_range
        self.max_rotation = max_rotation
        self.mirror_prob = mirror_prob
        self.per_camera = per_camera

    def transform(self, results: dict) -> dict:
        """Edit ``img`` and ``cam2img``.

        Raises:
            ValueError: If there are no images.
        """
        height, width = loaded_images(results, 'RandomWarpSurroundImages')[0].shape[:2]
        count = len(results['img'])
        if self.per_camera:
            pixel_maps = np.stack([self._draw(height, width) for _ in range(count)])
        else:
            pixel_maps = np.stack([self._draw(height, width)] * count)
        images = [
            cv2.warpAffine(image, pixel_map_between_centers(pixel_map)[:2], (width, height), flags=cv2.INTER_LINEAR)
            for image, pixel_map in zip(results['img'], pixel_maps)
        ]
        return _set_images(results, images, pixel_maps)

    def _draw(self, height: int, width: int) -> np.ndarray:
        scale = np.random.uniform(*self.scale_range)
        shift_u, shift_v = np.random.uniform(-1, 1, 2) * self.shift_range * np.array((width, height))
        angle = np.deg2rad(np.random.uniform(-self.max_rotation, self.max_rotation))
        cosine, sine = np.cos(angle), np.sin(angle)
        rotation = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
        mirror = mirror_matrix(width) if np.random.rand() < self.mirror_prob else np.eye(3)
        to_centre = crop_matrix(width / 2, height / 2)
        from_centre = crop_matrix(-width / 2 - shift_u, -height / 2 - shift_v)
        return from_centre @ rotation @ resize_matrix(scale, scale) @ to_centre @ mirror

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(scale_range={self.scale_range}, shift_range={self.shift_range}, '
                f'max_rotation={self.max_rotation}, mirror_prob={self.mirror_prob}, per_camera={self.per_camera})')


def mirrored_camera_order(names: Sequence[str]) -> list[int]:
    """For each camera, the index of the one that takes its place in a mirrored world: LEFT and RIGHT trade names.

    ``['CAM_FRONT', 'CAM_FRONT_RIGHT', 'CAM_FRONT_LEFT'] -> [0, 2, 1]``. A camera without a counterpart keeps its place.
    """
    swapped = [name.replace('LEFT', '\0').replace('RIGHT', 'LEFT').replace('\0', 'RIGHT') for name in names]
    return [names.index(other) if other in names else index for index, other in enumerate(swapped)]
