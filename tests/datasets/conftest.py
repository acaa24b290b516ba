"""Small nuScenes roots with their info files."""
import os
from pathlib import Path

import pytest
from mmengine.registry import init_default_scope
from small_nuscenes import write_small_nuscenes

import scene_qformer.datasets  # noqa: F401  registers the dataset and the transforms
from scene_qformer.datasets.nuscenes_infos import create_info_files

REAL_DRIVELM_ENV = 'SCENE_QFORMER_REAL_DRIVELM'


@pytest.fixture(autouse=True)
def mmdet3d_scope():
    """Build from mmdet3d's registries, as a runner does."""
    init_default_scope('mmdet3d')


@pytest.fixture(scope='session')
def small_root(tmp_path_factory) -> Path:
    """A v1.0-mini root of two train scenes and one val scene with info files. Read only."""
    root = tmp_path_factory.mktemp('small') / 'nuscenes'
    write_small_nuscenes(root, 'v1.0-mini', ('scene-0061', 'scene-0553', 'scene-0103'))
    create_info_files(root, 'v1.0-mini')
    return root


@pytest.fixture(scope='session')
def real_infos(real_nuscenes_root, tmp_path_factory) -> Path:
    """A folder with the info files of the real scene. Read only."""
    out = tmp_path_factory.mktemp('real')
    create_info_files(real_nuscenes_root, 'v1.0-trainval', out=out, workers=2)
    return out


@pytest.fixture(scope='session')
def real_drivelm_root() -> Path:
    """A folder with DriveLM-nuScenes' ``v1_1_train_nus.json`` and its images in ``nuscenes/``: not in the repository.

    Looked for at ``$SCENE_QFORMER_REAL_DRIVELM``, else ``../shared/drivelm_real`` beside the clone.
    """
    named = os.environ.get(REAL_DRIVELM_ENV)
    root = Path(named).expanduser() if named else Path(__file__).resolve().parents[3] / 'shared' / 'drivelm_real'
    if not root.is_dir():
        if named:
            pytest.fail(f'{REAL_DRIVELM_ENV}={named} is no folder')
        pytest.skip(f'no real DriveLM at {root}; set {REAL_DRIVELM_ENV} to a folder with v1_1_train_nus.json')
    return root
