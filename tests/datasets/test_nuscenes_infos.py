"""Our info files against those of mmdet3d's own converter, field by field."""
import importlib.util
import math
import os
import pickle
import runpy
import sys
from pathlib import Path

import mmdet3d
import pytest
from small_nuscenes import write_small_nuscenes

from scene_qformer.datasets.info_file import load_info_file
from scene_qformer.datasets.nuscenes_infos import create_info_files
from scene_qformer.durable_file import NotWrittenError
from tests.limited_files import files_of_at_most

TOOL = Path(__file__).parents[2] / 'tools/create_data.py'


def official(name: str):
    """A module of mmdet3d's tools, which are files beside the package and no package themselves."""
    path = Path(mmdet3d.__file__).parent / '.mim/tools/dataset_converters' / f'{name}.py'
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def convert_officially(root: Path, version: str, splits: tuple[str, ...], tmp_path: Path, monkeypatch) -> list[dict]:
    """Run mmdet3d's converter where it works only: with the data at ./data/nuscenes."""
    link = tmp_path / 'official/data/nuscenes'
    link.mkdir(parents=True)
    for path in root.iterdir():
        if path.suffix != '.pkl':
            os.symlink(path.resolve(), link / path.name)
    monkeypatch.chdir(tmp_path / 'official')
    official('nuscenes_converter').create_nuscenes_infos('./data/nuscenes', 'nuscenes', version)
    names = [f'nuscenes_infos_{split}.pkl' for split in splits]
    for name in names:
        official('update_infos_to_v2').update_nuscenes_infos(f'./data/nuscenes/{name}', './data/nuscenes')
    return [pickle.loads((link / name).read_bytes()) for name in names]


def differences(ours, theirs, where=''):
    """Every place where the two differ: strings, whole numbers and flags exactly, floats to 1e-7 of max(1, value)."""
    if isinstance(theirs, dict):
        if not isinstance(ours, dict) or ours.keys() != theirs.keys():
            yield where, ours, theirs
        else:
            for key in theirs:
                yield from differences(ours[key], theirs[key], f'{where}.{key}')
    elif isinstance(theirs, (list, tuple)):
        if not isinstance(ours, (list, tuple)) or len(ours) != len(theirs):
            yield where, ours, theirs
        else:
            for i, (one, other) in enumerate(zip(ours, theirs)):
                yield from differences(one, other, f'{where}[{i}]')
    elif isinstance(theirs, float) and isinstance(ours, float):
        both_unknown = math.isnan(ours) and math.isnan(theirs)
        if not (both_unknown or abs(ours - theirs) <= 1e-7 * max(1, abs(theirs))):
            yield where, ours, theirs
    elif ours != theirs:
        yield where, ours, theirs


def test_differences_finds_them():
    one = dict(a=[1.0, dict(b='x', c=float('nan'))], d=True)
    assert not list(differences(one, one))
    assert [d[0] for d in differences(one, dict(a=[1.0 + 1e-6, dict(b='y', c=0.0)], d=False))] == [
        '.a[0]', '.a[1].b', '.a[1].c', '.d']
    assert list(differences([1], [1, 2])) and list(differences({}, dict(a=1)))


def test_equal_to_the_official_converter_on_a_small_root(small_root, tmp_path, monkeypatch):
    official_infos = convert_officially(small_root, 'v1.0-mini', ('train', 'val'), tmp_path, monkeypatch)
    for split, frames, theirs in zip(('train', 'val'), (6, 3), official_infos):
        ours = load_info_file(small_root / f'nuscenes_infos_{split}.pkl')
        assert len(ours['data_list']) == frames
        assert ours['metainfo']['categories']['animal'] == -1
        assert not list(differences(ours, theirs))
        assert [len(info.get('lidar_sweeps', [])) for info in ours['data_list'][:3]] == [2, 5, 8]


def test_equal_to_the_official_converter_on_a_real_scene(real_infos, real_nuscenes_root, tmp_path, monkeypatch):
    # without 'train', which is empty here: the official converter fails on an empty split
    theirs, = convert_officially(real_nuscenes_root, 'v1.0-trainval', ('val', ), tmp_path, monkeypatch)
    ours = load_info_file(real_infos / 'nuscenes_infos_val.pkl')
    assert len(ours['data_list']) == 40 and sum(len(info['instances']) for info in ours['data_list']) == 2625
    assert not list(differences(ours, theirs))
    assert load_info_file(real_infos / 'nuscenes_infos_train.pkl')['data_list'] == []


def test_equal_to_the_official_converter_on_a_synthetic_set(synthetic_root, tmp_path, monkeypatch):
    paths = create_info_files(synthetic_root, 'v1.0-mini', out=tmp_path / 'ours')
    official_infos = convert_officially(synthetic_root, 'v1.0-mini', ('train', 'val'), tmp_path, monkeypatch)
    for path, frames, theirs in zip(paths, (16, 4), official_infos):
        ours = load_info_file(path)
        assert len(ours['data_list']) == frames
        assert not list(differences(ours, theirs))


def test_the_test_version_has_no_annotations(tmp_path, monkeypatch):
    root = write_small_nuscenes(tmp_path / 'test', 'v1.0-test', ('scene-0077', 'scene-0078'), samples_per_scene=2)
    theirs, = convert_officially(root, 'v1.0-test', ('test', ), tmp_path, monkeypatch)
    path, = create_info_files(root, 'v1.0-test', out=tmp_path / 'elsewhere')
    ours = load_info_file(path)
    assert path == tmp_path / 'elsewhere/nuscenes_infos_test.pkl'
    assert len(ours['data_list']) == 4 and ours['data_list'][0]['instances'] == []
    assert not list(differences(ours, theirs))


def test_several_processes_write_the_same(small_root, tmp_path):
    create_info_files(small_root, 'v1.0-mini', out=tmp_path, workers=2)
    for split in ('train', 'val'):
        name = f'nuscenes_infos_{split}.pkl'
        assert (tmp_path / name).read_bytes() == (small_root / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['nuscenes_infos_train.pkl', 'nuscenes_infos_val.pkl']


def test_nothing_is_overwritten_silently(small_root, tmp_path):
    kept = tmp_path / 'nuscenes_infos_val.pkl'
    kept.write_bytes(b'precious')
    with pytest.raises(FileExistsError, match='nuscenes_infos_val.pkl already there. Give --overwrite'):
        create_info_files(small_root, 'v1.0-mini', out=tmp_path)
    assert kept.read_bytes() == b'precious' and len(list(tmp_path.iterdir())) == 1
    create_info_files(small_root, 'v1.0-mini', out=tmp_path, overwrite=True)
    assert len(load_info_file(kept)['data_list']) == 3


def test_a_failure_half_way_leaves_nothing(small_root, tmp_path, monkeypatch):
    monkeypatch.setattr('os.replace', lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        create_info_files(small_root, 'v1.0-mini', out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_scenes_outside_the_splits_are_named(tmp_path, capsys):
    root = write_small_nuscenes(tmp_path / 'n', 'v1.0-mini', ('scene-0061', 'my-scene'), samples_per_scene=1)
    create_info_files(root, 'v1.0-mini')
    assert '1 scenes are in no official split of v1.0-mini and are put into val: my-scene' in capsys.readouterr().out
    assert [info['token'] for info in load_info_file(root / 'nuscenes_infos_val.pkl')['data_list']] == [
        'my-scene-sample-0']


def test_a_disk_that_takes_no_more(small_root, tmp_path):
    (tmp_path / 'nuscenes_infos_train.pkl').write_bytes(b'what was there')
    with files_of_at_most(1000), pytest.raises(NotWrittenError, match='infos_train.pkl could not be written'):
        create_info_files(small_root, 'v1.0-mini', out=tmp_path, overwrite=True)
    file, = tmp_path.iterdir()
    assert file.read_bytes() == b'what was there'


class TestErrors:

    def test_no_root(self, tmp_path):
        with pytest.raises(FileNotFoundError, match='root .*nowhere does not exist.*\n.*create_synthetic_nuscenes.py'):
            create_info_files(tmp_path / 'nowhere', 'v1.0-mini')

    def test_wrong_version_lists_what_is_there(self, small_root, tmp_path):
        with pytest.raises(FileNotFoundError, match='no folder v1.0-trainval. Versions there: v1.0-mini'):
            create_info_files(small_root, 'v1.0-trainval', out=tmp_path)

    def test_unknown_version(self, small_root):
        with pytest.raises(ValueError, match="Unknown version 'v2.0'; expected one of v1.0-mini, v1.0-trainval"):
            create_info_files(small_root, 'v2.0')

    def test_missing_table(self, tmp_path):
        root = write_small_nuscenes(tmp_path / 'n', 'v1.0-mini', ('scene-0061', ), samples_per_scene=1)
        (root / 'v1.0-mini/ego_pose.json').unlink()
        with pytest.raises(FileNotFoundError, match='lacks ego_pose.json'):
            create_info_files(root, 'v1.0-mini')

    def test_missing_image(self, tmp_path):
        root = write_small_nuscenes(tmp_path / 'n', 'v1.0-mini', ('scene-0061', ), samples_per_scene=1)
        next((root / 'samples/CAM_BACK_LEFT').iterdir()).unlink()
        with pytest.raises(FileNotFoundError, match='no image .*camera CAM_BACK_LEFT of sample scene-0061-sample-0'):
            create_info_files(root, 'v1.0-mini')

    def test_missing_camera(self, tmp_path):
        root = write_small_nuscenes(tmp_path / 'n', 'v1.0-mini', ('scene-0061', ), samples_per_scene=1)
        table = root / 'v1.0-mini/sample_data.json'
        table.write_text(table.read_text().replace('"is_key_frame": true', '"is_key_frame": false', 1))
        with pytest.raises(ValueError, match='Sample scene-0061-sample-0 .* has no CAM_FRONT in the table sample_data'):
            create_info_files(root, 'v1.0-mini')

    def test_missing_lidar_is_reported_only(self, tmp_path, capsys):
        root = write_small_nuscenes(tmp_path / 'n', 'v1.0-mini', ('scene-0061', ), samples_per_scene=2)
        next((root / 'samples/LIDAR_TOP').iterdir()).unlink()
        create_info_files(root, 'v1.0-mini')
        assert 'Warning: 1 of 2 key frames have no LiDAR file' in capsys.readouterr().out


def run_tool(monkeypatch, *arguments: str) -> None:
    """Run tools/create_data.py in this process, as starting another one takes seconds."""
    monkeypatch.setattr(sys, 'argv', ['create_data.py', *arguments])
    runpy.run_path(str(TOOL), run_name='__main__')


def test_the_tool_writes_beside_the_data_or_elsewhere(small_root, tmp_path, monkeypatch, capsys):
    run_tool(monkeypatch, '--root', str(small_root), '--version', 'v1.0-mini', '--out', str(tmp_path), '--workers', '1')
    assert f'{tmp_path}/nuscenes_infos_train.pkl: 6 frames' in capsys.readouterr().out
    root = write_small_nuscenes(tmp_path / 'n', 'v1.0-mini', ('scene-0103', ), samples_per_scene=1)
    run_tool(monkeypatch, '--root', str(root), '--version', 'v1.0-mini')
    assert len(load_info_file(root / 'nuscenes_infos_val.pkl')['data_list']) == 1


def test_the_tool_ends_with_a_sentence_not_a_traceback(small_root, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match='^create_data.py: .*nuscenes_infos_train.pkl, .* already there'):
        run_tool(monkeypatch, '--root', str(small_root), '--version', 'v1.0-mini')
    out = str(tmp_path)
    with pytest.raises(SystemExit, match='^create_data.py: .* has no folder v1.0-trainval. Versions there: v1.0-mini'):
        run_tool(monkeypatch, '--root', str(small_root), '--version', 'v1.0-trainval', '--out', out)


def test_the_tool_says_that_the_devkit_is_missing(small_root, monkeypatch):
    monkeypatch.delitem(sys.modules, 'scene_qformer.datasets.nuscenes_infos')
    monkeypatch.setitem(sys.modules, 'nuscenes.nuscenes', None)  # as if not installed
    with pytest.raises(SystemExit, match='needs nuscenes.nuscenes, which is not installed'):
        run_tool(monkeypatch, '--root', str(small_root), '--version', 'v1.0-mini')
