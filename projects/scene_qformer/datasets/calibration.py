"""Calibration of one frame, from wherever it comes: the devkit, an info dict, arrays."""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ..geometry import invert, to_homogeneous
from .camera_faults import absent_camera
from .settings import read_size

# What else somebody may call the size of images; what pipelines call img_shape is (height, width), of other images.
_SIZE = re.compile('(img|image|ori)?_?(size|width|height|resolution|hw|wh)|image_?shape', re.IGNORECASE)
_SHAPES = {'cam2img': ((3, 3), (3, 4), (4, 4)), 'lidar2cam': ((3, 4), (4, 4))}


def read_cameras(cameras: Any, cam_names: Sequence[str], on_fault: str = 'stop') -> tuple[str, dict[str, dict]]:
    """Calibration, from wherever it comes.

    Args:
        cameras: One of

            - ``(nusc, sample_token)``: the devkit's ``NuScenes`` and a sample of it;
            - an info dict of mmdet3d, with ``images[name]``, as ``dataset.get_data_info(index)`` gives it (in the
              pickled file itself, infos name images without their folders); or such ``images`` alone: a dict by camera
              name with ``cam2img``, ``lidar2cam`` and, if known, ``img_path``, ``width`` and ``height``;
            - arrays in the order of ``cam_names``: a dict with ``cam2img`` (N, 3, 3) or (N, 4, 4), ``lidar2cam``
              (N, 4, 4) and, if known, ``image_size``: the (width, height) of the images that ``cam2img`` is for.
        cam_names: The N cameras of the model.
        on_fault: ``stop``, or ``mask``: see ``camera_faults.py``.

    Returns:
        The sample token and, by camera name, ``cam2img`` and ``lidar2cam`` (4, 4) float64, and maybe ``img_path`` and
        ``size`` (width, height). With ``on_fault='mask'``, ``fault``, the reason, of a camera that cannot be used.

    Raises:
        ValueError: If a camera or a matrix is missing, a matrix has another shape, is singular or transposed, a size is
            none, or an entry beside arrays is not known.
        TypeError: If it is none of these.
    """
    token = 'in_memory'
    by_name: Mapping
    if isinstance(cameras, tuple) and len(cameras) == 2 and isinstance(cameras[1], str):
        token = cameras[1]
        by_name = _from_devkit(*cameras)
    elif isinstance(cameras, Mapping) and 'images' in cameras:
        token, by_name = cameras.get('token', token), cameras['images']
    elif isinstance(cameras, Mapping) and _SHAPES.keys() & cameras.keys():
        by_name = _from_arrays(cameras, cam_names)
    elif isinstance(cameras, Mapping):
        by_name = cameras
    else:
        raise TypeError('Expected cameras as (nusc, sample_token), as an info dict of mmdet3d, or as '
                        f'dict(cam2img=(N, 3, 3), lidar2cam=(N, 4, 4)); got {_kind(cameras)}. A batch is a list of '
                        'them, not a tuple.')
    if not isinstance(by_name, Mapping):
        raise TypeError(f'Expected the `images` of the info dict of sample {token} as a dict by camera name, got a '
                        f'{type(by_name).__name__}. Infos of mmdet3d 0.x have another form: create the info file anew, '
                        'python tools/create_data.py.')
    missing = [name for name in cam_names if name not in by_name]
    if missing and (on_fault == 'stop' or len(missing) == len(cam_names)):
        raise ValueError(f'The calibration lacks {", ".join(missing)}: the model reads {", ".join(cam_names)}, and it '
                         f'has {", ".join(map(str, by_name)) or "no camera"}.')
    return str(token), {name: _use_camera(name, by_name, on_fault) for name in cam_names}


def is_calibrated(matrices: Mapping[str, Mapping], token: str | None) -> bool:
    """Whether there are matrices.

    Args:
        matrices: What may hold ``cam2img`` and ``lidar2cam``, by the name that an error gives it.
        token: Of the sample, for the error.

    Raises:
        ValueError: If some are there and others are not.
    """
    missing = [(name, key) for name, holder in matrices.items() for key in _SHAPES if key not in holder]
    if missing and len(missing) < len(_SHAPES) * len(matrices):
        raise ValueError(f'{missing[0][0]} of sample {token} has no {missing[0][1]}, while other matrices of this '
                         'sample are there. Expected cam2img and lidar2cam of all cameras, or, for frames without '
                         'calibration, none of them.')
    return not missing


def _kind(cameras: Any) -> str:
    """The type of something, with those of its entries if it is a tuple."""
    kinds = f' of {", ".join(type(entry).__name__ for entry in cameras)}' if isinstance(cameras, tuple) else ''
    return type(cameras).__name__ + kinds


def _from_devkit(nusc: Any, sample_token: str) -> dict[str, dict]:
    if not hasattr(nusc, 'get_sample_data_path'):
        raise TypeError('Expected cameras as (nusc, sample_token) with the NuScenes of the devkit, got a '
                        f'{type(nusc).__name__} in its place. Open the data set first: NuScenes(version, dataroot).')
    from .nuscenes_infos import sample_info  # the devkit takes seconds to import, and others do not need it
    try:
        sample = nusc.get('sample', sample_token)
    except KeyError as error:
        raise ValueError(f'{nusc.dataroot} has no sample {sample_token!r}. Give the token of one of nusc.sample, or '
                         'open the version that has it.') from error
    info, _ = sample_info(nusc, sample, annotated=False, max_sweeps=0)
    cameras = info['images']
    for camera in cameras.values():
        record = nusc.get('sample_data', camera['sample_data_token'])
        camera.update(img_path=nusc.get_sample_data_path(record['token']), width=record['width'],
                      height=record['height'])
    return cameras


def _from_arrays(cameras: Mapping, cam_names: Sequence[str]) -> dict[str, dict]:
    if unknown := [str(key) for key in cameras if key != 'image_size' and _SIZE.fullmatch(str(key))]:
        raise ValueError(f'The calibration has {", ".join(unknown)}, which is not known. Say the size of the images as '
                         'image_size=(width, height).')
    stacked = {}
    for key, shapes in _SHAPES.items():
        if key not in cameras:
            raise ValueError(f'The calibration has {", ".join(cameras)}, but lacks {key}.')
        stacked[key] = _numbers(cameras[key], f'{key} of all cameras')
        if stacked[key].shape[:1] != (len(cam_names), ) or stacked[key].shape[1:] not in shapes:
            expected = ' or '.join(str((len(cam_names), *shape)) for shape in shapes)
            raise ValueError(f'Expected {key} of shape {expected}, a matrix for each of {", ".join(cam_names)}; got '
                             f'{stacked[key].shape}.')
    by_name = {name: {key: stacked[key][n] for key in stacked} for n, name in enumerate(cam_names)}
    if cameras.get('image_size') is not None:
        width, height = read_size(cameras['image_size'], 'image_size of the calibration')
        by_name = {name: dict(camera, width=width, height=height) for name, camera in by_name.items()}
    return by_name


def check_matrices(camera: Mapping, name: str) -> dict[str, np.ndarray]:
    """The matrices of one camera.

    Args:
        camera: With ``cam2img`` 3x3, 3x4 or 4x4 and ``lidar2cam`` 3x4 or 4x4, arrays or nested lists.
        name: Of the camera, for the error.

    Returns:
        ``cam2img`` and ``lidar2cam``, (4, 4) float64.

    Raises:
        ValueError: If one is missing, of another shape, not of numbers, not finite, singular or transposed.
    """
    checked = {}
    for key, shapes in _SHAPES.items():
        if camera.get(key) is None:
            found = ', '.join(str(entry) for entry, value in camera.items() if value is not None) or 'nothing'
            raise ValueError(f'The calibration of {name} lacks {key}; it has {found}.')
        matrix = _numbers(camera[key], f'{key} of {name}')
        if matrix.shape not in shapes:
            raise ValueError(f'Expected {key} of {name} as one of {", ".join(map(str, shapes))}, got {matrix.shape}.')
        checked[key] = to_homogeneous(matrix)
        invert(checked[key], f'{key} of {name}')
        _check_last_row(checked[key], key, name)
    return checked


def _numbers(matrices: Any, what: str) -> np.ndarray:
    try:
        array = np.asarray(_plain(matrices))
        if array.dtype.kind not in 'iuf':
            raise TypeError('its entries are ' + ('texts' if array.dtype.kind in 'US' else array.dtype.name))
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f'Expected {what} as a matrix of numbers, got a {type(matrices).__name__} that is none '
                         f'({error}).') from error


def _plain(matrices: Any) -> Any:
    """Tensors as arrays, of whatever device and precision, with gradients or without."""
    if isinstance(matrices, Tensor):
        values = matrices.detach().cpu()
        return (values.double() if values.is_floating_point() else values).numpy()
    return [_plain(entry) for entry in matrices] if isinstance(matrices, (list, tuple)) else matrices


def _check_last_row(matrix: np.ndarray, key: str, name: str) -> None:
    """A transposed matrix inverts as well as a right one, and nothing else would notice."""
    row, expected = (matrix[2, :3], (0, 0, 1)) if key == 'cam2img' else (matrix[3], (0, 0, 0, 1))
    if not np.allclose(row, expected, atol=1e-3):
        raise ValueError(f'Expected {", ".join(map(str, expected))} in row {len(expected)} of {key} of {name}, got '
                         f'{", ".join(f"{number:g}" for number in row)}. Points are columns here: transpose the matrix '
                         'if it is for rows. If that row is a multiple, divide the matrix by it.')


def _use_camera(name: str, by_name: Mapping, on_fault: str) -> dict:
    try:
        if name not in by_name:
            raise ValueError(f'The calibration lacks {name}; it has {", ".join(map(str, by_name))}.')
        if not isinstance(by_name[name], Mapping):
            raise ValueError(f'Expected the calibration of {name} as a dict, got a {type(by_name[name]).__name__}.')
        return _check_camera(name, by_name[name])
    except ValueError as error:
        if on_fault == 'stop':
            raise
        return absent_camera(str(error))


def _check_camera(name: str, camera: Mapping) -> dict:
    checked: dict[str, Any] = dict(check_matrices(camera, name))
    if 'img_path' in camera:
        checked['img_path'] = camera['img_path']
    size = camera.get('width'), camera.get('height')
    if any(size):  # (0, 0) means that nobody knows, too
        checked['size'] = read_size(size, f'the image size of {name}')
    return checked
