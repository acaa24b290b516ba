"""One frame that is in no dataset: images and calibration as they come, made into what the transforms take."""
from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet3d.structures import get_box_type
from PIL import Image

from .calibration import read_cameras
from .camera_faults import absent_camera, check_policy, fault_of

# How far a principal point may lie from the middle of its image, as a share of the side, if nothing tells the size of
# the image that it is for: nuScenes' lie within 0.05, those of an image of half or twice the size do not.
_OFF_CENTRE = 0.2


def frame_results(images: Any, cameras: Any, cam_names: Sequence[str], channel_order: str = 'rgb',
                  on_fault: str = 'stop') -> dict:
    """The ``results`` with which a pipeline starts.

    Args:
        images: Of each camera a file, the content of one (``bytes``), or an array ``(H, W, 3)`` uint8; as a dict by
            camera name or as a list in the order of ``cam_names``. None takes the files that ``cameras`` names.
        cameras: The calibration; see :func:`read_cameras`.
        cam_names: The cameras of the model, in its order.
        channel_order: Of arrays: ``rgb``, or ``bgr`` as OpenCV reads them.
        on_fault: ``stop``, or ``mask``: cameras whose image or calibration is missing or broken are left to
            :class:`LoadSurroundImages` to mask. An image that is None is missing. See ``camera_faults.py``.

    Returns:
        ``images`` (camera name to ``img_path``, ``cam2img``, ``lidar2cam``), ``token``, ``sample_idx``,
        ``box_type_3d``, ``box_mode_3d``. ``img_path`` is a file, its content, or an array, BGR; see
        :class:`TakeSurroundImages`.

    Raises:
        ValueError: If a camera, an image or a matrix is missing or has another shape, or an image has another size than
            that which the calibration is for.
        TypeError: If an image or the calibration is of another kind.
    """
    check_channel_order(channel_order)
    check_policy(on_fault, test_mode=True)
    token, calibration = read_cameras(cameras, cam_names, on_fault)
    given = _by_name(images, cam_names, on_fault) if images is not None else _files(calibration, on_fault)
    entries = {}
    for name in cam_names:
        image, camera = given.get(name), calibration[name]
        if on_fault == 'mask' and (fault := _fault(name, image, camera)) is not None:
            entries[name] = absent_camera(fault)
            continue
        if isinstance(image, (str, Path)):
            source: Any = str(image)
        elif isinstance(image, bytes):
            source = image
        else:
            _check_pixels(name, image)
            assert image is not None  # checked, with all the rest
            source = np.ascontiguousarray(image[..., ::-1]) if channel_order == 'rgb' else image
        _check_size(name, _size(source), camera)
        entries[name] = dict(img_path=source, cam2img=camera['cam2img'], lidar2cam=camera['lidar2cam'])
    box_type_3d, box_mode_3d = get_box_type('LiDAR')
    return dict(images=entries, token=token, sample_idx=0, box_type_3d=box_type_3d, box_mode_3d=box_mode_3d,
                on_fault=on_fault)


def check_channel_order(channel_order: str) -> None:
    """Check what a user says of arrays.

    Raises:
        ValueError: If there is no such order.
    """
    if channel_order not in ('rgb', 'bgr'):
        raise ValueError(f"Expected channel_order 'rgb' or 'bgr', got {channel_order!r}.")


def _fault(name: str, image: Any, camera: dict) -> str | None:
    """Why a camera cannot be used, as far as one sees without opening its image."""
    return fault_of(camera) or (f'There is no image of {name}.' if image is None else None)


def _by_name(images: Any, cam_names: Sequence[str], on_fault: str) -> Mapping:
    if isinstance(images, Mapping):
        missing = [name for name in cam_names if name not in images]
        if missing and on_fault == 'stop':
            raise ValueError(f'There is no image of {", ".join(missing)}: the model reads {", ".join(cam_names)}, and '
                             f'there are {", ".join(map(str, images)) or "none"}.')
        return images
    if isinstance(images, (str, bytes, set, frozenset)) or not hasattr(images, '__len__'):  # sets have no order
        raise TypeError(f'Expected images as a dict by camera name, or as a list; got {type(images).__name__}.')
    if len(images) != len(cam_names):
        raise ValueError(f'Expected {len(cam_names)} images, of {", ".join(cam_names)} in this order; got '
                         f'{len(images)}.')
    return dict(zip(cam_names, images))


def _files(calibration: dict[str, dict], on_fault: str) -> dict[str, str]:
    missing = [name for name, camera in calibration.items() if not camera.get('img_path')]
    if missing and on_fault == 'stop':
        raise ValueError(f'There are no images: none were given, and the cameras name no file of {", ".join(missing)}.')
    return {name: camera['img_path'] for name, camera in calibration.items() if camera.get('img_path')}


def _check_pixels(name: str, image: Any) -> None:
    if not isinstance(image, np.ndarray):
        raise TypeError(f'Expected the image of {name} as a file, bytes of one, or a NumPy array, got '
                        f'{type(image).__name__}.')
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f'Expected the image of {name} as uint8 (H, W, 3), got {image.dtype} {image.shape}. Images go '
                         'in as the camera gives them: neither scaled to [0, 1] nor normalised, channels last.')


def _size(source: str | bytes | np.ndarray) -> tuple[int, int] | None:
    """(width, height); None of a file that is not there or no image, of which the loader has more to say."""
    if isinstance(source, np.ndarray):
        return source.shape[1], source.shape[0]
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as file:  # reads the header alone
            return file.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _check_size(name: str, size: tuple[int, int] | None, camera: dict) -> None:
    if size is None:
        return
    wanted = camera.get('size')
    if wanted is not None:
        if size != wanted:
            raise ValueError(f'The image of {name} is {size[0]}x{size[1]}, but its calibration is for '
                             f'{wanted[0]}x{wanted[1]}. Give images as the camera took them, or scale cam2img along.')
        return
    centre = camera['cam2img'][:2, 2]
    if np.abs(centre / size - 0.5).max() > _OFF_CENTRE:
        raise ValueError(f'The image of {name} is {size[0]}x{size[1]}, but the principal point of its cam2img is at '
                         f'({centre[0]:.1f}, {centre[1]:.1f}), far from the middle: the calibration seems to be for '
                         'images of another size. If it is not, say image_size=(width, height) beside the matrices '
                         '(width and height of each camera in an info dict).')
