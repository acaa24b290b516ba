"""Small nuScenes roots with their info files."""
from pathlib import Path

import pytest
from mmengine.registry import init_default_scope
from small_nuscenes import write_small_nuscenes

import scene_qformer.datasets  # noqa: F401  registers the dataset and the transforms
from scene_qformer.datasets.nuscenes_infos import create_info_files


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
