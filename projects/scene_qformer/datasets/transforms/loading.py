"""Loading the cameras' images."""
from __future__ import annotations

import cv2
import mmengine.fileio as fileio
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS

from ...geometry import edit_cam2img, resize_matrix
from ..calibration import check_matrices, is_calibrated
from ..camera_faults import UnusableFrame, fault_of, policy_of
from ..settings import read_size
from .image_header import check_image_header, jpeg_shape

_REDUCED_DECODING = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}


@TRANSFORMS.register_module()
class LoadSurroundImages(BaseTransform):
    """Load the images of all cameras as uint8 BGR, resized on the way if a size is given.

    mmdet3d's ``LoadMultiViewImageFromFiles`` decodes 1600x900 in full; this one lets libjpeg decode straight to 1/2,
    1/4 or 1/8 where ``size`` is that much smaller, which is several times faster, and can keep the small images.

    Required keys: ``images`` (dict of camera name to ``img_path``, ``cam2img``, ``lidar2cam``), ``token``. The matrices
    may be missing, in all cameras alike: then there is no calibration, and the matrices below are not added.

    A file or a matrix may be broken. What then happens is ``on_fault`` of the dataset; see ``camera_faults.py``.

    Added keys:

    - img (list of N uint8 arrays (H, W, 3), BGR)
    - img_path (list of N str), cam_names (list of N str)
    - cam2img (N, 4, 4) float64, of the images as loaded; ori_cam2img (N, 4, 4) float64, of the files
    - lidar2cam (N, 4, 4) float64
    - img_shape, pad_shape (H, W) as loaded; ori_shape (H, W) of the first file
    - num_views (int)
    - only where a camera could not be used, under ``on_fault='mask'``: ``camera_mask`` (N,) bool, False there;
      ``camera_faults`` (camera name to reason). Its image is black, its matrices are the identity.

    Args:
        size: (width, height) in pixels to which every image is resized, with both axes scaled on their own so that
            the whole field of view is kept; ``cam2img`` carries the two scales. None keeps the files' size.
        cache: Keep the loaded images in memory, so that later epochs need not decode. Each data loader worker keeps
            its own, N x H x W x 3 bytes a frame. Needs ``size``.
        backend_args: For mmengine's file backend.

    Raises:
        ValueError: If ``size`` is none, or there is none and images are to be kept.
    """

    def __init__(self, size: tuple[int, int] | None = None, cache: bool = False,
                 backend_args: dict | None = None) -> None:
        if cache and size is None:
            raise ValueError('cache=True needs a size: full-size images would fill the memory.')
        self.size = None if size is None else read_size(size, f'size of {type(self).__name__}')
        self.backend_args = backend_args
        self._cache: dict[str, tuple[np.ndarray, tuple[int, int]]] | None = {} if cache else None

    def transform(self, results: dict) -> dict:
        """Load the images of ``results['images']``.

        Raises:
            FileNotFoundError: If a file is missing.
            OSError: If a file cannot be read.
            ValueError: If a file is not an image, a JPEG is cut off, a matrix is singular, not finite or of another
                shape, some cameras have matrices and others lack them or, with no ``size``, the cameras' images differ
                in size; with ``on_fault='mask'``, if no camera is left. All errors name file or camera, and sample
                token.
            UnusableFrame: The first of these errors, with ``on_fault='skip'``.
        """
        token, policy, cameras = results.get('token'), policy_of(results), results['images']
        known = {f'Camera {name}': camera for name, camera in cameras.items() if 'fault' not in camera}
        calibrated = is_calibrated(known, token) if policy == 'stop' else any(
            key in camera for camera in known.values() for key in ('cam2img', 'lidar2cam'))
        loaded: dict[str, tuple] = {}  # by camera: image, (height, width) of the file, matrices
        faults: dict[str, str] = {}
        for name, camera in cameras.items():
            where = f'camera {name} of sample {token}'
            try:
                loaded[name] = self._use(camera, where, calibrated)
            except (OSError, ValueError) as error:
                if policy == 'stop':
                    raise
                if policy == 'skip':
                    raise UnusableFrame(token, str(error)) from error
                faults[name] = str(error)
        if not loaded:
            raise ValueError(f'None of the {len(cameras)} cameras of sample {token} can be used, so that masking them '
                             'leaves nothing:\n' + '\n'.join(faults.values()))
        if faults:
            results['camera_mask'] = np.array([name in loaded for name in cameras])
            results['camera_faults'] = faults
        _add_images(results, loaded)
        if calibrated:
            _add_matrices(results, loaded)
        return results

    def _use(self, camera: dict, where: str, calibrated: bool) -> tuple:
        """Image, (height, width) of the file, and matrices, if there are any."""
        if (fault := fault_of(camera)) is not None:
            raise ValueError(fault)
        matrices = check_matrices(camera, where) if calibrated else None
        return (*self._load(camera['img_path'], where), matrices)

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
        try:
            content = fileio.get(path, backend_args=self.backend_args)
        except OSError as error:  # a folder, no permission, a disk that fails
            raise OSError(f'Cannot read the image file {path} ({where}): {error.strerror or error}.\nReplace it, or '
                          'see to its permissions.') from error
        shape = check_image_header(content, path, where)
        flag = cv2.IMREAD_COLOR
        if self.size is not None and jpeg_shape(content) is not None:
            flag = _REDUCED_DECODING.get(reduction(shape, self.size), cv2.IMREAD_COLOR)
        try:
            # IGNORE_ORIENTATION: calibration refers to the pixels as stored, whatever an EXIF tag says
            image = cv2.imdecode(np.frombuffer(content, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error:
            image = None
        if image is None:
            raise ValueError(f'Cannot decode the image file {path} ({where}): {len(content)} bytes that are no image '
                             'OpenCV reads.\nReplace the file.')
        return image, shape

    def __repr__(self) -> str:
        return f'{type(self).__name__}(size={self.size}, cache={self._cache is not None})'


def _add_images(results: dict, loaded: dict[str, tuple]) -> None:
    """Add the images and what is known of them; black ones for the cameras that are not among the loaded ones."""
    shapes = {name: image.shape[:2] for name, (image, *_) in loaded.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f'The images of sample {results.get("token")} differ in size (height, width): {shapes}.\n'
                         'Give LoadSurroundImages a size=(width, height), so that they can be stacked.')
    first, ori_shape, _ = next(iter(loaded.values()))
    cameras = results['images']
    results['img'] = [loaded[name][0] if name in loaded else np.zeros_like(first) for name in cameras]
    results['img_path'] = [camera.get('img_path', '') for camera in cameras.values()]
    results['cam_names'] = list(cameras)
    results['ori_shape'] = ori_shape
    results['img_shape'] = results['pad_shape'] = first.shape[:2]
    results['num_views'] = len(cameras)


def _add_matrices(results: dict, loaded: dict[str, tuple]) -> None:
    """Add the cameras' matrices, as (N, 4, 4); ``cam2img`` is taken from the files' pixels to the loaded ones."""
    shape = (len(results['images']), 4, 4)
    for key in ('cam2img', 'ori_cam2img', 'lidar2cam'):
        results[key] = np.broadcast_to(np.eye(4), shape).copy()
    for index, name in enumerate(results['images']):
        if name in loaded:
            image, (height, width), matrices = loaded[name]
            scale = resize_matrix(image.shape[1] / width, image.shape[0] / height)
            results['cam2img'][index] = edit_cam2img(matrices['cam2img'], scale)
            results['ori_cam2img'][index], results['lidar2cam'][index] = matrices['cam2img'], matrices['lidar2cam']


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
