"""Loading the cameras' images."""
from __future__ import annotations

import cv2
import mmengine.fileio as fileio
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS

from ...geometry import edit_cam2img, invert, resize_matrix, to_homogeneous
from ..calibration import is_calibrated

_REDUCED_DECODING = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}


@TRANSFORMS.register_module()
class LoadSurroundImages(BaseTransform):
    """Load the images of all cameras as uint8 BGR, resized on the way if a size is given.

    mmdet3d's ``LoadMultiViewImageFromFiles`` decodes 1600x900 in full; this one lets libjpeg decode straight to 1/2,
    1/4 or 1/8 where ``size`` is that much smaller, which is several times faster, and can keep the small images.

    Required keys: ``images`` (dict of camera name to ``img_path``, ``cam2img``, ``lidar2cam``), ``token``. The matrices
    may be missing, in all cameras alike: then there is no calibration, and the matrices below are not added.

    Added keys:

    - img (list of N uint8 arrays (H, W, 3), BGR)
    - img_path (list of N str), cam_names (list of N str)
    - cam2img (N, 4, 4) float64, of the images as loaded; ori_cam2img (N, 4, 4) float64, of the files
    - lidar2cam (N, 4, 4) float64
    - img_shape, pad_shape (H, W) as loaded; ori_shape (H, W) of the first file
    - num_views (int)

    Args:
        size: (width, height) in pixels to which every image is resized, with both axes scaled on their own so that
            the whole field of view is kept; ``cam2img`` carries the two scales. None keeps the files' size.
        cache: Keep the loaded images in memory, so that later epochs need not decode. Each data loader worker keeps
            its own, N x H x W x 3 bytes a frame. Needs ``size``.
        backend_args: For mmengine's file backend.
    """

    def __init__(self, size: tuple[int, int] | None = None, cache: bool = False,
                 backend_args: dict | None = None) -> None:
        if cache and size is None:
            raise ValueError('cache=True needs a size: full-size images would fill the memory.')
        self.size = None if size is None else (int(size[0]), int(size[1]))
        self.backend_args = backend_args
        self._cache: dict[str, tuple[np.ndarray, tuple[int, int]]] | None = {} if cache else None

    def transform(self, results: dict) -> dict:
        """Load the images of ``results['images']``.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If a file is not an image, a JPEG is cut off, an intrinsic is singular, some cameras have
                matrices and others lack them or, with no ``size``, the cameras' images differ in size. All errors name
                file or camera, and sample token.
        """
        images, ori_shapes = [], []
        for name, camera in results['images'].items():
            image, ori_shape = self._load(camera['img_path'], f'camera {name} of sample {results.get("token")}')
            images.append(image)
            ori_shapes.append(ori_shape)

        shapes = {name: image.shape[:2] for name, image in zip(results['images'], images)}
        if len(set(shapes.values())) > 1:
            raise ValueError(f'The images of sample {results.get("token")} differ in size (height, width): {shapes}.\n'
                             'Give LoadSurroundImages a size=(width, height), so that they can be stacked.')
        results['img'] = images
        results['img_path'] = [camera['img_path'] for camera in results['images'].values()]
        results['cam_names'] = list(results['images'])
        if is_calibrated({f'Camera {name}': camera for name, camera in results['images'].items()},
                         results.get('token')):
            _add_matrices(results, [
                resize_matrix(image.shape[1] / width, image.shape[0] / height)
                for image, (height, width) in zip(images, ori_shapes)
            ])
        results['ori_shape'] = ori_shapes[0]
        results['img_shape'] = results['pad_shape'] = images[0].shape[:2]
        results['num_views'] = len(images)
        return results

    def _load(self, path: str, where: str) -> tuple[np.ndarray, tuple[int, int]]:
        """The image, resized, and the (height, width) of the file. Callers must not write into the image."""
        if self._cache is not None and path in self._cache:
            return self._cache[path]
        image, original_shape = self._decode(path, where)
        if self.size is not None and image.shape[1::-1] != self.size:
            shrinks = self.size[0] <= image.shape[1] and self.size[1] <= image.shape[0]
            # What libjpeg made smaller is averaged already. OpenCV's area filter would take as long again as decoding,
            # for 0.3 grey levels.
            averages = shrinks and image.shape[:2] == original_shape
            image = cv2.resize(image, self.size, interpolation=cv2.INTER_AREA if averages else cv2.INTER_LINEAR)
        image.flags.writeable = False  # a cached image may be handed out many times
        if self._cache is not None:
            self._cache[path] = image, original_shape
        return image, original_shape

    def _decode(self, path: str, where: str) -> tuple[np.ndarray, tuple[int, int]]:
        if not fileio.exists(path, backend_args=self.backend_args):
            raise FileNotFoundError(f'There is no image file {path} ({where}).\nCheck data_root and data_prefix, and '
                                    'whether all image archives were unpacked.')
        content = fileio.get(path, backend_args=self.backend_args)
        shape = None
        if content[:2] == b'\xff\xd8':
            _check_jpeg_is_whole(content, path, where)
            shape = jpeg_shape(content)
        flag = cv2.IMREAD_COLOR
        if shape is not None and self.size is not None:
            flag = _REDUCED_DECODING.get(reduction(shape, self.size), cv2.IMREAD_COLOR)
        buffer = np.frombuffer(content, np.uint8)
        # IGNORE_ORIENTATION: calibration refers to the pixels as stored, whatever an EXIF tag says
        image = cv2.imdecode(buffer, flag | cv2.IMREAD_IGNORE_ORIENTATION) if buffer.size else None
        if image is None:
            raise ValueError(f'Cannot decode the image file {path} ({where}): {len(content)} bytes that are no image '
                             'OpenCV reads.\nReplace the file.')
        return image, shape or image.shape[:2]

    def __repr__(self) -> str:
        return f'{type(self).__name__}(size={self.size}, cache={self._cache is not None})'


def _add_matrices(results: dict, scales: list[np.ndarray]) -> None:
    """Add the cameras' matrices, as (N, 4, 4); ``scales`` (3, 3) take the files' pixels to the loaded ones."""
    matrices = {
        key: [to_homogeneous(np.asarray(camera[key], dtype=np.float64)) for camera in results['images'].values()]
        for key in ('cam2img', 'lidar2cam')
    }
    for name, intrinsic in zip(results['images'], matrices['cam2img']):
        invert(intrinsic, f'cam2img of camera {name} of sample {results.get("token")}')
    results['cam2img'] = np.stack([edit_cam2img(*pair) for pair in zip(matrices['cam2img'], scales)])
    results['ori_cam2img'] = np.stack(matrices['cam2img'])
    results['lidar2cam'] = np.stack(matrices['lidar2cam'])


def reduction(shape: tuple[int, int], size: tuple[int, int]) -> int:
    """By how much a JPEG of ``shape`` (height, width) may shrink in decoding when ``size`` (width, height) is wanted.

    The largest of 8, 4, 2 that divides both sides, so that pixels stay where the calibration says, and that leaves no
    side below the wanted one; else 1.
    """
    height, width = shape
    for factor in (8, 4, 2):
        if height % factor == width % factor == 0 and width // factor >= size[0] and height // factor >= size[1]:
            return factor
    return 1


def jpeg_shape(content: bytes) -> tuple[int, int] | None:
    """(height, width) from a JPEG's frame header (ITU-T T.81, B.2.2), or None if there is none."""
    position = 2
    while position + 9 <= len(content):
        if content[position] != 0xFF:
            return None
        marker = content[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(content[position + 5:position + 7], 'big'), int.from_bytes(
                content[position + 7:position + 9], 'big')
        position += 2 + int.from_bytes(content[position + 2:position + 4], 'big')
    return None


def _check_jpeg_is_whole(content: bytes, path: str, where: str) -> None:
    """OpenCV decodes a cut-off JPEG to an image with a grey rest, and only warns; training on that must not happen."""
    if content.endswith(b'\xff\xd9'):
        return
    # An end marker must follow the last scan; an earlier one may belong to an embedded thumbnail.
    if content.rfind(b'\xff\xd9') < max(content.rfind(b'\xff\xda'), 2):
        raise ValueError(f'The JPEG file {path} ({where}) is truncated: {len(content)} bytes without an end marker.\n'
                         'Unpack or download it again.')
