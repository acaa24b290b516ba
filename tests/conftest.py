"""Fixtures that tests of several parts share."""
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from mmengine.registry import DefaultScope

# Here, since pytest takes options from plugins of the topmost conftest alone.
pytest_plugins = ['faults.collecting']

ROOT = Path(__file__).resolve().parents[1]
REAL_NUSCENES_ENV = 'SCENE_QFORMER_REAL_NUSCENES'


def pytest_configure(config: pytest.Config) -> None:
    # Sizes are tiny: threads would only wait for each other, above all beside other test processes.
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Every test starts from the same random state, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope='module', autouse=True)
def own_default_scope() -> Iterator[None]:
    """A runner leaves the registry scope that it works in behind; the next file starts from the one before it."""
    before = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


@pytest.fixture(scope='session')
def real_nuscenes_root() -> Path:
    """The root of one real nuScenes scene (``v1.0-trainval``, scene-0523): not in the repository, so tests may skip.

    Looked for at ``$SCENE_QFORMER_REAL_NUSCENES``, else ``../shared/nuscenes_real`` beside the clone.
    """
    named = os.environ.get(REAL_NUSCENES_ENV)
    root = Path(named).expanduser() if named else ROOT.parent / 'shared' / 'nuscenes_real'
    if not root.is_dir():
        if named:
            # Somebody meant these tests to run: a wrong path must not turn into a quiet skip.
            pytest.fail(f'{REAL_NUSCENES_ENV}={named} is no folder')
        pytest.skip(f'no real nuScenes at {root}; set {REAL_NUSCENES_ENV} to a root with v1.0-trainval/ and samples/')
    return root


@pytest.fixture(scope='session')
def synthetic_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthetic nuScenes (``v1.0-mini``, all 10 scenes, 2 samples a scene), written once a test session.

    Test processes (pytest-xdist) share it: the first writes, the others wait. Read only: a test that edits copies.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if 'PYTEST_XDIST_WORKER' in os.environ else base
    root = shared / 'synthetic_nuscenes'
    with FileLock(str(shared / 'synthetic_nuscenes.lock')):
        if not (shared / 'synthetic_nuscenes.done').exists():
            command = [sys.executable, str(ROOT / 'tools' / 'create_synthetic_nuscenes.py'), '--out', str(root),
                       '--samples-per-scene', '2', '--seed', '7']
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
            assert done.returncode == 0, f'{" ".join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}'
            (shared / 'synthetic_nuscenes.done').touch()
    return root
