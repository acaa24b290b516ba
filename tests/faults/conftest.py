"""What every attack may use."""
from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def show(request: pytest.FixtureRequest, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory,
         ) -> Callable[[str], None]:
    """Record what the user sees, for the table and for docs/troubleshooting.md: ``show(str(error))``.

    Folders of the test become FOLDER, digests SHA256, and the repository's own folder is left out, so that the text is
    the same on any machine. What else differs from run to run a test has to take out: the page is compared by letter.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if re.fullmatch(r'popen-gw\d+', base.name) else base
    places = re.compile(rf'{re.escape(str(tmp_path))}|{re.escape(str(shared))}(/popen-gw\d+)?(/[\w.-]+)?')

    def record(text: str) -> None:
        readable = places.sub('FOLDER', str(text)).replace(f'{ROOT}/', '').strip()
        readable = re.sub(r'\b[0-9a-f]{64}\b', 'SHA256', readable)
        assert readable, 'the user would see an empty message'
        request.node.user_properties.append(('shown', readable))

    return record


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The warnings that mmengine's loggers would print and write into the log file, as they come."""
    from mmengine.logging import MMLogger  # here: the tests of the suite's own plugin do without

    lines: list[str] = []

    def note(logger: MMLogger, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            lines.append(record.getMessage())

    monkeypatch.setattr(MMLogger, 'callHandlers', note)
    return lines


@pytest.fixture(scope='session')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work directory with checkpoints of three epochs."""
    from tests.small_training import make_runner

    folder = tmp_path_factory.mktemp('trained')
    make_runner(folder, checkpoint=dict(interval=1)).train()
    return folder


@pytest.fixture
def work_dir(trained: Path, tmp_path: Path) -> Path:
    """A copy of it that may be damaged."""
    from scene_qformer.durable_file import write_durably, write_with_digest

    for name in ('epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth'):
        write_with_digest(tmp_path / name, (trained / name).read_bytes())
    write_durably(tmp_path / 'last_checkpoint', str(tmp_path / 'epoch_3.pth').encode())
    return tmp_path


@pytest.fixture(scope='session')
def small_nuscenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nuScenes root of a training and a validation scene, of two samples each, without info files."""
    from datasets.small_nuscenes import write_small_nuscenes

    root = tmp_path_factory.mktemp('small') / 'nuscenes'
    return write_small_nuscenes(root, 'v1.0-mini', ('scene-0061', 'scene-0103'), samples_per_scene=2)


@pytest.fixture
def root(small_nuscenes: Path, tmp_path: Path) -> Path:
    """A copy of it whose tables may be damaged."""
    from faults.small_root import copy_root

    return copy_root(small_nuscenes, tmp_path / 'nuscenes')


@pytest.fixture
def count(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Count what a single test does many times: ``count(kills=1)`` after each kill, ``count(generated=200)`` inputs."""
    def add(**numbers: int) -> None:
        unknown = numbers.keys() - {'kills', 'generated'}
        assert not unknown, f'kills and generated are counted, not {sorted(unknown)}'
        request.node.user_properties.append(('count', numbers))

    return add
