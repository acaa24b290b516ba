"""Reading mmdet3d's info files: without running code from them, and with errors that say how to make a right one."""
from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from pathlib import Path

import mmengine.fileio as fileio

HOW_TO_CREATE = ('  python tools/create_data.py --root {root} --version v1.0-trainval   # or v1.0-mini, v1.0-test\n'
                 'For a synthetic set, write that first:\n'
                 '  python tools/create_synthetic_nuscenes.py --out {root}')

# What NumPy arrays, dtypes and scalars and plain Python containers need when unpickled. NumPy 2 renamed numpy.core to
# numpy._core; either name is served by whichever the installed NumPy has.
_NUMPY_NAMES = {
    ('numpy', 'ndarray'),
    ('numpy', 'dtype'),
    ('numpy.core.multiarray', '_reconstruct'),
    ('numpy.core.multiarray', 'scalar'),
    ('numpy.core.numeric', '_frombuffer'),
}
_OTHER_NAMES = {
    ('collections', 'OrderedDict'),
    ('_codecs', 'encode'),  # how protocol 2, mmengine's default, writes bytes
    *((module, name) for module in ('builtins', '__builtin__')
      for name in ('set', 'frozenset', 'complex', 'bytes', 'bytearray', 'slice', 'range')),
}


class _DataOnlyUnpickler(pickle.Unpickler):
    """Builds arrays and plain containers and nothing else, so that a file cannot make us call anything."""

    def find_class(self, module: str, name: str):
        old_module = module.replace('numpy._core', 'numpy.core')
        if (old_module, name) in _NUMPY_NAMES:
            for candidate in (module, old_module, old_module.replace('numpy.core', 'numpy._core')):
                try:
                    return super().find_class(candidate, name)
                except (ImportError, AttributeError):
                    continue
        if (module, name) in _OTHER_NAMES:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(
            f'it refers to {module}.{name}; info files hold only plain Python containers and NumPy arrays')


def load_info_file(path: str | Path, backend_args: dict | None = None) -> dict:
    """Read an info file as mmdet3d 1.x writes it.

    Args:
        path: The file, e.g. ``data/nuscenes/nuscenes_infos_val.pkl``; anything that mmengine's file backends take.
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
    try:
        content = _DataOnlyUnpickler(io.BytesIO(fileio.get(path, backend_args=backend_args))).load()
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, AttributeError, TypeError,
            MemoryError, ImportError) as error:
        raise ValueError(f'Cannot read the info file {path}: {error}.\nIt is damaged or was not written as an info '
                         f'file. Create it anew with\n{how}') from error
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


def check_cameras(info: dict, cam_names: Sequence[str], path: str | Path) -> None:
    """Check that one entry of ``data_list`` has a file and both matrices for each of these cameras.

    Raises:
        ValueError: Names the sample, the camera, and what there is.
    """
    images = info.get('images') or {}
    for name in cam_names:
        if name not in images:
            raise ValueError(f'Sample {info.get("token")} of {path} has no camera {name}; it has '
                             f'{", ".join(images) or "none"}.\nCorrect cam_names in the config, or, if the camera '
                             'should be there, create the info file anew with tools/create_data.py.')
        missing = [key for key in ('img_path', 'cam2img', 'lidar2cam') if key not in images[name]]
        if missing:
            raise ValueError(f'Sample {info.get("token")} of {path}: camera {name} lacks {", ".join(missing)}.\n'
                             'Create the info file anew with tools/create_data.py.')


def _check_era(content: object, path: str, how: str) -> None:
    if isinstance(content, dict) and 'data_list' in content and 'metainfo' in content:
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
