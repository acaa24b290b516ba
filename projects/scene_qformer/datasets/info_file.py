"""Reading mmdet3d's info files: without running code from them, and with errors that say how to make a right one."""
from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import mmengine.fileio as fileio

from ..data_only_pickle import loads_data
from ..inside_folder import check_inside
from ..strict_json import parse_json
from .camera_faults import absent_camera

HOW_TO_CREATE = ('  python tools/create_data.py --root {root} --version v1.0-trainval   # or v1.0-mini, v1.0-test\n'
                 'For a synthetic set, write that first:\n'
                 '  python tools/create_synthetic_nuscenes.py --out {root}')


def load_info_file(path: str | Path, backend_args: dict | None = None) -> dict:
    """Read an info file as mmdet3d 1.x writes it, or the same in JSON, as ``tools/convert_infos.py`` writes it.

    Args:
        path: The file, e.g. ``data/nuscenes/nuscenes_infos_val.pkl`` or ``.json``; anything that mmengine's file
            backends take.
        backend_args: For mmengine's file backend.

    Returns:
        ``dict(metainfo=dict, data_list=list[dict])``.

    Raises:
        FileNotFoundError: If the data root or the file is missing; says which command creates it.
        ValueError: If the file is damaged, carries code, or is not in the format of mmdet3d 1.x.
    """
    path = str(path)
    root = str(Path(path).parent)
    how = HOW_TO_CREATE.format(root=root)
    if not fileio.exists(path, backend_args=backend_args):
        if not fileio.isdir(root, backend_args=backend_args):
            raise FileNotFoundError(f'The data root {root} does not exist, so there is no info file {path}.\nPut (or '
                                    f'link) nuScenes there or set data_root, then create the info files:\n{how}')
        raise FileNotFoundError(f'There is no info file {path}.\nCreate it with\n{how}')
    raw, name = fileio.get(path, backend_args=backend_args), f'the info file {path}'
    try:
        # NaN is what an info file says of a velocity that is not known.
        content = parse_json(raw, name, nan=True) if path.endswith('.json') else loads_data(raw, name)
    except ValueError as error:
        raise ValueError(f'{error}\nIt is damaged or was not written as an info file. Create it anew with\n{how}'
                         ) from error
    _check_era(content, path, how)
    return content


def check_version(found: str | None, expected: str | None, path: str | Path) -> None:
    """Compare the nuScenes version that a config names with the one that an info file was made from.

    Raises:
        ValueError: If both are known and differ.
    """
    if expected is not None and found is not None and found != expected:
        raise ValueError(f"The config says version '{expected}', but {path} was made from version '{found}'.\nSet "
                         f"metainfo=dict(version='{found}') or leave it out, or create the info file from the other "
                         f'version: python tools/create_data.py --root {Path(path).parent} --version {expected}')


def check_once(data_list: Sequence[dict], path: str | Path) -> None:
    """Check that no sample is listed twice: for who counts samples. To train on, a list may repeat some.

    Raises:
        ValueError: Names the sample and its first two entries.
    """
    first: dict[str, int] = {}
    for number, info in enumerate(data_list):
        token = info['token']
        if first.setdefault(token, number) != number:
            raise ValueError(f"Entries {first[token]} and {number} of 'data_list' of {path} are both about sample "
                             f'{token:.80}: it would count twice. Expected each sample once, where models are '
                             'evaluated and questions are made.\nCreate the info file anew with tools/create_data.py. '
                             'To train on some samples more often, wrap the training dataset in CBGSDataset or '
                             'RepeatDataset in the config; the info file need not repeat them.')


def parts_of_their_own(data_list: Sequence[dict]) -> list[dict]:
    """The same entries, such that what is changed in one changes no other.

    Where a sample is repeated, a pickle may hold its parts once.
    """
    seen: set[str] = set()
    infos = []
    for info in data_list:
        infos.append(copy.deepcopy(info) if info['token'] in seen else info)
        seen.add(info['token'])
    return infos


def check_cameras(info: dict, cam_names: Sequence[str], path: str | Path) -> None:
    """Check that one entry of ``data_list`` has a file and both matrices for each of these cameras.

    Raises:
        ValueError: Names the sample, the camera, and what there is.
    """
    images = info.get('images') or {}
    if not isinstance(images, dict):
        raise ValueError(f"Sample {info.get('token')} of {path}: expected 'images' to be a dict by camera name, found "
                         f'a {type(images).__name__}.\nCreate the info file anew with tools/create_data.py.')
    for name in cam_names:
        if (fault := camera_fault(images, name, f'Sample {info.get("token")} of {path}')) is not None:
            raise ValueError(fault)


def keep_usable_cameras(info: dict, cam_names: Sequence[str], path: str | Path) -> None:
    """In the place of :func:`check_cameras` where broken cameras are tolerated: put the reason in their place.

    Raises:
        ValueError: If there is no dict of cameras at all.
    """
    check_cameras(info, (), path)
    images = info.get('images') or {}
    faults = {name: camera_fault(images, name, f'Sample {info.get("token")} of {path}') for name in cam_names}
    info['images'] = {name: images[name] if fault is None else absent_camera(fault) for name, fault in faults.items()}


def camera_fault(images: dict, name: str, where: str) -> str | None:
    """What is wrong with the entry of a camera; None if nothing is."""
    if name not in images:
        return (f'{where} has no camera {name}; it has {", ".join(map(str, images)) or "none"}.\nCorrect cam_names in '
                'the config, or, if the camera should be there, create the info file anew with tools/create_data.py.')
    if not isinstance(images[name], dict):
        return (f'{where}: expected camera {name} to be a dict, found a {type(images[name]).__name__}.\nCreate the '
                'info file anew with tools/create_data.py.')
    missing = [key for key in ('img_path', 'cam2img', 'lidar2cam') if key not in images[name]]
    if missing:
        return (f'{where}: camera {name} lacks {", ".join(missing)}.\nCreate the info file anew with '
                'tools/create_data.py.')
    return None


def check_paths(info: dict, data_root: str, path: str | Path) -> None:
    """Check that the image and LiDAR files of one entry of ``data_list`` lie in the data root.

    Raises:
        ValueError: If a path leads out of it; names the sample.
    """
    way_out = ' If you trust the file, give the dataset paths_outside_root=True.'
    holders = {f'img_path of {name}': camera.get('img_path') for name, camera in info.get('images', {}).items()}
    holders['lidar_path'] = info.get('lidar_points', {}).get('lidar_path')
    for name, value in holders.items():
        if value is not None:
            check_inside(value, data_root, f'{path}, sample {info.get("token")}, {name}', way_out)


def _check_era(content: object, path: str, how: str) -> None:
    if isinstance(content, dict) and 'data_list' in content and 'metainfo' in content:
        _check_frames(content, path, how)
        return
    if isinstance(content, dict) and 'infos' in content:
        found = "a dict with 'infos', the format of mmdet3d 0.x"
    elif isinstance(content, list):
        found = 'a list, the format of mmdet3d 0.x and of other code bases'
    elif isinstance(content, dict):
        found = f'a dict with the keys {sorted(map(str, content))}'
    else:
        found = f'a {type(content).__name__}'
    raise ValueError(f"Expected {path} to hold a dict with 'metainfo' and 'data_list' (mmdet3d 1.x), found {found}.\n"
                     f'Create it anew with\n{how}')


def _check_frames(content: dict, path: str, how: str) -> None:
    for key, kind in (('metainfo', dict), ('data_list', list)):
        if not isinstance(content[key], kind):
            raise ValueError(f'Expected {key!r} of {path} to be a {kind.__name__}, found a '
                             f'{type(content[key]).__name__}.\nCreate it anew with\n{how}')
    for number, info in enumerate(content['data_list']):
        if not isinstance(info, dict) or not isinstance(info.get('token'), str) or not info['token']:
            found = f'its token is {info.get("token")!r:.80}' if isinstance(info, dict) else f'it is {info!r:.80}'
            raise ValueError(f"Expected entry {number} of 'data_list' of {path} to be a dict with the 'token' of its "
                             f'sample, but {found}.\nCreate it anew with\n{how}')
