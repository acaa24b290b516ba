import json
import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from nuscenes.utils import splits

from scene_qformer.synthetic import nuscenes_generator, recording_pool
from scene_qformer.synthetic.nuscenes_generator import MARKER, GeneratorOptions, generate, is_generated, scene_names
from scene_qformer.synthetic.nuscenes_tables import FrameMeasurement
from scene_qformer.synthetic.world import build_world

TOOL = Path(__file__).parents[2] / 'tools/create_synthetic_nuscenes.py'


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob('*') if path.is_file()}


@pytest.fixture
def no_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables alone, which is quick."""

    def record(root, names, num_frames, seed, workers):
        for name in names:
            world = build_world(name, num_frames, seed)
            seen = {state.instance: 1 for frame in world.frames for state in frame.objects}
            yield world, [FrameMeasurement(seen, seen, seen)] * num_frames

    monkeypatch.setattr(nuscenes_generator, 'record_scenes', record)


def test_scene_names_interleave_train_and_val():
    assert scene_names('v1.0-mini', 2) == ['scene-0061', 'scene-0103']
    whole = scene_names('v1.0-mini', None)
    assert sorted(whole) == sorted([*splits.mini_train, *splits.mini_val])
    big = scene_names('v1.0-trainval', 170)
    assert len(set(big)) == 170
    assert len(set(big) & set(splits.val)) == 30  # 150 of 850
    assert set(big) <= {*splits.train, *splits.val}
    assert sorted(scene_names('v1.0-trainval', None)) == sorted([*splits.train, *splits.val])
    for count in range(2, 11):
        names = scene_names('v1.0-mini', count)
        assert set(names) & set(splits.mini_val)
        assert names[:-1] == scene_names('v1.0-mini', count - 1)


@pytest.mark.parametrize('version, count, message', [('v1.0-test', 3, r"'v1.0-test'.*v1.0-trainval"),
                                                     ('v1.0-mini', 11, '10 scenes.*got 11'),
                                                     ('v1.0-mini', 0, 'between 1 and 10')])
def test_scenes_that_there_are_not(version: str, count: int, message: str):
    with pytest.raises(ValueError, match=message):
        scene_names(version, count)


def test_same_seed_same_bytes_however_many_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # One frame a task, and every idle process joins in: both processes record frames of the one scene.
    monkeypatch.setattr(recording_pool, 'FRAMES_PER_TASK', 1)
    monkeypatch.setattr(recording_pool, '_WORTH_STEALING', 1)
    for workers in (1, 2):
        generate(GeneratorOptions(tmp_path / str(workers), num_scenes=1, samples_per_scene=3, seed=5, workers=workers))
    one, two = contents(tmp_path / '1'), contents(tmp_path / '2')
    assert len(one) == 3 * 7 + 13 + 2 + 1  # recordings, tables, map mask and vectors, marker
    assert one == two
    assert json.loads(one[MARKER])['seed'] == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ['1', '2']  # nothing half-written is left


@pytest.mark.parametrize('workers', [1, 2])
def test_errors_of_recording_processes_come_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int):

    def fail(*_):
        raise ZeroDivisionError('the lens is dirty')

    monkeypatch.setattr(recording_pool, 'build_world', fail)
    with pytest.raises((RuntimeError, ZeroDivisionError), match='the lens is dirty'):
        generate(GeneratorOptions(tmp_path / 'set', num_scenes=2, samples_per_scene=1, workers=workers))
    assert not any(tmp_path.iterdir())


def test_a_recording_process_that_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recording_pool, 'build_world', lambda *_: os._exit(9))
    with pytest.raises(RuntimeError, match='scene-0.*exit code 9.*fewer --workers'):
        generate(GeneratorOptions(tmp_path / 'set', num_scenes=2, samples_per_scene=1, workers=2))


def test_other_seed_other_bytes(tmp_path: Path, no_recordings):
    for seed in (5, 6):
        generate(GeneratorOptions(tmp_path / str(seed), num_scenes=1, samples_per_scene=1, seed=seed))
    five, six = contents(tmp_path / '5'), contents(tmp_path / '6')
    assert five.keys() == six.keys()
    same = {name for name in five if five[name] == six[name]}
    assert {Path(name).stem for name in same} == {'attribute', 'category', 'sensor', 'visibility'}


def test_existing_folders_are_safe(tmp_path: Path, no_recordings):
    out = tmp_path / 'set'
    options = dict(num_scenes=1, samples_per_scene=1)
    out.mkdir()
    generate(GeneratorOptions(out, **options))  # an empty folder is fine
    assert is_generated(out)
    with pytest.raises(FileExistsError, match='not empty.*--overwrite'):
        generate(GeneratorOptions(out, **options))
    generate(GeneratorOptions(out, **options, seed=3, overwrite=True))
    assert json.loads((out / MARKER).read_text())['seed'] == 3

    foreign = tmp_path / 'thesis'
    foreign.mkdir()
    (foreign / 'chapter.tex').touch()
    with pytest.raises(FileExistsError, match='not written by this tool'):
        generate(GeneratorOptions(foreign, **options, overwrite=True))
    assert (foreign / 'chapter.tex').exists()


def test_a_run_that_fails_leaves_things_as_they_were(tmp_path: Path, no_recordings, monkeypatch):
    out = tmp_path / 'set'
    generate(GeneratorOptions(out, num_scenes=1, samples_per_scene=1))
    before = contents(out)

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(nuscenes_generator, 'write_tables', fail)
    with pytest.raises(KeyboardInterrupt):
        generate(GeneratorOptions(out, num_scenes=1, samples_per_scene=1, seed=9, overwrite=True))
    assert contents(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ['set']


def test_what_a_killed_run_left_behind(tmp_path: Path, no_recordings, capsys):
    partial = tmp_path / 'set.partial'
    partial.mkdir()
    (partial / 'writer.pid').write_text(str(os.getpid()))
    options = GeneratorOptions(tmp_path / 'set', num_scenes=1, samples_per_scene=1)
    with pytest.raises(FileExistsError, match='another run may be writing'):
        generate(options)
    ended = subprocess.run([sys.executable, '-c', 'import os; print(os.getpid())'], capture_output=True, text=True)
    (partial / 'writer.pid').write_text(ended.stdout)
    generate(options)
    assert 'killed' in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ['set']


def test_a_full_disk_is_noticed_first(tmp_path: Path, monkeypatch):
    usage = namedtuple('usage', 'total used free')
    monkeypatch.setattr(nuscenes_generator.shutil, 'disk_usage', lambda _: usage(0, 0, 10**9))
    with pytest.raises(OSError, match=r'400 samples need about 1\.2 GB.*1\.0 GB free'):
        generate(GeneratorOptions(tmp_path / 'set'))
    assert not any(tmp_path.iterdir())


def test_bad_numbers(tmp_path: Path):
    with pytest.raises(ValueError, match='--samples-per-scene.*got 0 and 1'):
        generate(GeneratorOptions(tmp_path / 'set', samples_per_scene=0))


def test_tool_reports_errors_plainly(tmp_path: Path):
    done = subprocess.run([sys.executable, str(TOOL), '--out', str(tmp_path / 'set'), '--scenes', '11'],
                          capture_output=True, text=True)
    assert done.returncode == 1
    assert 'error: v1.0-mini has 10 scenes' in done.stderr
    assert 'Traceback' not in done.stderr
