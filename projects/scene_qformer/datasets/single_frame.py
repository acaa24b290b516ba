"""One frame that is in no dataset: images and calibration as they come, made into what the transforms take."""
from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet3d.structures import get_box_type
from PIL import Image

from ..geometry import invert, to_homogeneous

# How far a principal point may lie from the middle of its image, as a share of the side, if nothing tells the size of
# the image that it is for: nuScenes' lie within 0.05, those of an image of half or twice the size do not.
_OFF_CENTRE = 0.2
_MATRICES = {'cam2img': ((3, 3), (3, 4), (4, 4)), 'lidar2cam': ((3, 4), (4, 4))}


def frame_results(images: Any, cameras: Any, cam_names: Sequence[str], channel_order: str = 'rgb') -> dict:
    """The ``results`` with which a pipeline starts.

    Args:
        images: Of each camera a file, the content of one (``bytes``), or an array ``(H, W, 3)`` uint8; as a dict by camera
            name or as a list in the order of ``cam_names``. None takes the files that ``cameras`` names.
        cameras: The calibration; see :func:`read_cameras`.
        cam_names: The cameras of the model, in its order.
        channel_order: Of arrays: ``rgb``, or ``bgr`` as OpenCV reads them.

    Returns:
        ``images`` (camera name to ``img_path``, ``cam2img``, ``lidar2cam``), ``token``, ``sample_idx``, ``box_type_3d``,
        ``box_mode_3d``. ``img_path`` is a file, its content, or an array, BGR; see :class:`TakeSurroundImages`.

    Raises:
        ValueError: If a camera, an image or a matrix is missing or has another shape, or an image has another size than
            that which the calibration is for.
        TypeError: If an image or the calibration is of another kind.
    """
    if channel_order not in ('rgb', 'bgr'):
        raise ValueError(f"Expected channel_order 'rgb' or 'bgr', got {channel_order!r}.")
    token, calibration = read_cameras(cameras, cam_names)
    given = _by_name(images, cam_names) if images is not None else _files(calibration)
    entries = {}
    for name in cam_names:
        image, camera = given[name], calibration[name]
        if isinstance(image, (str, Path)):
            source: Any = str(image)
        elif isinstance(image, bytes):
            source = image
        else:
            _check_pixels(name, image)
            source = np.ascontiguousarray(image[..., ::-1]) if channel_order == 'rgb' else image
        _check_size(name, _size(source), camera)
        entries[name] = dict(img_path=source, cam2img=camera['cam2img'], lidar2cam=camera['lidar2cam'])
    box_type_3d, box_mode_3d = get_box_type('LiDAR')
    return dict(images=entries, token=token, sample_idx=0, box_type_3d=box_type_3d, box_mode_3d=box_mode_3d)


def read_cameras(cameras: Any, cam_names: Sequence[str]) -> tuple[str, dict[str, dict]]:
    """Calibration, from wherever it comes.

    Args:
        cameras: One of

            - ``(nusc, sample_token)``: the devkit's ``NuScenes`` and a sample of it;
            - an info dict of mmdet3d, with ``images[name]``; or such ``images`` alone: a dict by camera name with
              ``cam2img``, ``lidar2cam`` and, if known, ``img_path``, ``width`` and ``height``;
            - arrays in the order of ``cam_names``: a dict with ``cam2img`` (N, 3, 3) or (N, 4, 4), ``lidar2cam``
              (N, 4, 4) and, if known, ``image_size``: the (width, height) of the images that ``cam2img`` is for.
        cam_names: The N cameras of the model.

    Returns:
        The sample token and, by camera name, ``cam2img`` and ``lidar2cam`` (4, 4) float64, and maybe ``img_path`` and
        ``size`` (width, height).

    Raises:
        ValueError: If a camera or a matrix is missing, or a matrix has another shape or is singular.
        TypeError: If it is none of these.
    """
    token = 'in_memory'
    if isinstance(cameras, tuple) and len(cameras) == 2:
        token = cameras[1]
        by_name = _from_devkit(*cameras)
    elif isinstance(cameras, Mapping) and 'images' in cameras:
        token, by_name = cameras.get('token', token), cameras['images']
    elif isinstance(cameras, Mapping) and _MATRICES.keys() & cameras.keys():
        by_name = _from_arrays(cameras, cam_names)
    elif isinstance(cameras, Mapping):
        by_name = cameras
    else:
        raise TypeError('Expected cameras as (nusc, sample_token), as an info dict of mmdet3d, or as '
                        f'dict(cam2img=(N, 3, 3), lidar2cam=(N, 4, 4)); got {type(cameras).__name__}.')
    missing = [name for name in cam_names if name not in by_name]
    if missing:
        raise ValueError(f'The calibration lacks {", ".join(missing)}: the model reads {", ".join(cam_names)}, and it '
                         f'has {", ".join(map(str, by_name)) or "no camera"}.')
    return str(token), {name: _check_camera(name, by_name[name]) for name in cam_names}


def _from_devkit(nusc: Any, sample_token: str) -> dict[str, dict]:
    from .nuscenes_infos import sample_info  # the devkit takes seconds to import, and others do not need it
    try:
        sample = nusc.get('sample', sample_token)
    except KeyError as error:
        raise ValueError(f'{getattr(nusc, "dataroot", "The data set")} has no sample {sample_token!r}.') from error
    info, _ = sample_info(nusc, sample, annotated=False, max_sweeps=0)
    cameras = info['images']
    for camera in cameras.values():
        record = nusc.get('sample_data', camera['sample_data_token'])
        camera.update(img_path=nusc.get_sample_data_path(record['token']), width=record['width'],
                      height=record['height'])
    return cameras


def _from_arrays(cameras: Mapping, cam_names: Sequence[str]) -> dict[str, dict]:
    stacked = {}
    for key, shapes in _MATRICES.items():
        if key not in cameras:
            raise ValueError(f'The calibration has {", ".join(cameras)}, but lacks {key}.')
        stacked[key] = np.asarray(cameras[key], dtype=np.float64)
        if stacked[key].shape[:1] != (len(cam_names), ) or stacked[key].shape[1:] not in shapes:
            expected = ' or '.join(str((len(cam_names), *shape)) for shape in shapes)
            raise ValueError(f'Expected {key} of shape {expected}, a matrix for each of {", ".join(cam_names)}; got '
                             f'{stacked[key].shape}.')
    by_name = {name: {key: stacked[key][n] for key in stacked} for n, name in enumerate(cam_names)}
    if cameras.get('image_size') is not None:
        width, height = cameras['image_size']
        by_name = {name: dict(camera, width=width, height=height) for name, camera in by_name.items()}
    return by_name


def _check_camera(name: str, camera: Mapping) -> dict:
    checked: dict[str, Any] = {}
    for key, shapes in _MATRICES.items():
        if camera.get(key) is None:
            raise ValueError(f'The calibration of {name} lacks {key}; it has {", ".join(camera) or "nothing"}.')
        matrix = np.asarray(camera[key], dtype=np.float64)
        if matrix.shape not in shapes:
            raise ValueError(f'Expected {key} of {name} as one of {", ".join(map(str, shapes))}, got {matrix.shape}.')
        checked[key] = to_homogeneous(matrix)
        invert(checked[key], f'{key} of {name}')
    if 'img_path' in camera:
        checked['img_path'] = camera['img_path']
    if camera.get('width') and camera.get('height'):
        checked['size'] = int(camera['width']), int(camera['height'])
    return checked


def _by_name(images: Any, cam_names: Sequence[str]) -> Mapping:
    if isinstance(images, Mapping):
        missing = [name for name in cam_names if name not in images]
        if missing:
            raise ValueError(f'There is no image of {", ".join(missing)}: the model reads {", ".join(cam_names)}, and '
                             f'there are {", ".join(map(str, images)) or "none"}.')
        return images
    if isinstance(images, (str, bytes)) or not hasattr(images, '__len__'):
        raise TypeError('Expected images as a dict by camera name, or as a list; got '
                        f'{type(images).__name__}.')
    if len(images) != len(cam_names):
        raise ValueError(f'Expected {len(cam_names)} images, of {", ".join(cam_names)} in this order; got {len(images)}.')
    return dict(zip(cam_names, images))


def _files(calibration: dict[str, dict]) -> dict[str, str]:
    missing = [name for name, camera in calibration.items() if not camera.get('img_path')]
    if missing:
        raise ValueError(f'There are no images: none were given, and the cameras name no file of {", ".join(missing)}.')
    return {name: camera['img_path'] for name, camera in calibration.items()}


def _check_pixels(name: str, image: Any) -> None:
    if not isinstance(image, np.ndarray):
        raise TypeError(f'Expected the image of {name} as a file, bytes of one, or a NumPy array, got {type(image).__name__}.')
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f'Expected the image of {name} as uint8 (H, W, 3), got {image.dtype} {image.shape}. Images go in '
                         'as the camera gives them: neither scaled to [0, 1] nor normalised, channels last.')


def _size(source: str | bytes | np.ndarray) -> tuple[int, int] | None:
    """(width, height); None of a file that is not there or no image, of which the loader has more to say."""
    if isinstance(source, np.ndarray):
        return source.shape[1], source.shape[0]
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as file:  # reads the header alone
            return file.size
    except OSError:
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
                         f'({centre[0]:.1f}, {centre[1]:.1f}), far from the middle: the calibration seems to be for images '
                         'of another size. If it is not, say image_size=(width, height) (width and height of each camera '
                         'in an info dict) beside the matrices.')
