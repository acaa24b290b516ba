"""Info files in JSON are the same files."""
import json
import math
import re
import subprocess
import sys

import mmengine
import numpy as np
import pytest

from scene_qformer.datasets.info_conversion import convert_info_file
from scene_qformer.datasets.info_file import load_info_file
from scene_qformer.datasets.nuscenes_scene_dataset import NuScenesSceneDataset
from scene_qformer.durable_file import NotWrittenError
from tests.limited_files import files_of_at_most


def same(one, other) -> bool:
    """Equal, an unknown velocity too."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(other)
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def there_and_back(path, tmp_path):
    frames = convert_info_file(path, tmp_path / 'a.json')
    convert_info_file(tmp_path / 'a.json', tmp_path / 'b.pkl')
    pickled = load_info_file(path)
    assert frames == len(pickled['data_list']) > 0
    for copy in ('a.json', 'b.pkl'):
        assert same(pickled, load_info_file(tmp_path / copy)), copy
        assert same(pickled, mmengine.load(tmp_path / copy)), 'as NuScenesMetric reads it'


def test_there_and_back(small_root, tmp_path):
    there_and_back(small_root / 'nuscenes_infos_train.pkl', tmp_path)


def test_a_real_info_file(real_infos, tmp_path):
    filled = [path for path in sorted(real_infos.glob('*.pkl')) if load_info_file(path)['data_list']]
    there_and_back(filled[0], tmp_path)


def test_the_dataset_reads_either(small_root, tmp_path):
    convert_info_file(small_root / 'nuscenes_infos_train.pkl', tmp_path / 'infos.json')
    pickled, json_ = (NuScenesSceneDataset(str(small_root), ann_file=str(path)) for path in (
        small_root / 'nuscenes_infos_train.pkl', tmp_path / 'infos.json'))
    assert len(pickled) == len(json_) > 0 and pickled.metainfo == json_.metainfo
    for index in range(len(pickled)):
        one, other = pickled.get_data_info(index), json_.get_data_info(index)
        np.testing.assert_array_equal(one['ann_info']['gt_bboxes_3d'].tensor, other['ann_info']['gt_bboxes_3d'].tensor)
        np.testing.assert_array_equal(one['ann_info']['gt_labels_3d'], other['ann_info']['gt_labels_3d'])
        assert same(one['images'], other['images']) and one['token'] == other['token']


def test_arrays_become_lists(tmp_path):
    frame = dict(token='a', cam2img=np.eye(2), number=np.float32(0.1), pair=(1, 2), none=None, flag=np.bool_(True))
    mmengine.dump(dict(metainfo={}, data_list=[frame]), tmp_path / 'a.pkl')
    convert_info_file(tmp_path / 'a.pkl', tmp_path / 'a.json')
    written, = json.loads((tmp_path / 'a.json').read_text())['data_list']
    assert written == dict(token='a', cam2img=[[1.0, 0.0], [0.0, 1.0]], number=float(np.float32(0.1)), pair=[1, 2],
                           none=None, flag=True)


def test_nothing_is_overwritten_unasked(small_root, tmp_path):
    source, target = small_root / 'nuscenes_infos_train.pkl', tmp_path / 'a.json'
    target.write_text('mine')
    with pytest.raises(FileExistsError, match='Give --overwrite'):
        convert_info_file(source, target)
    assert target.read_text() == 'mine'
    convert_info_file(source, target, overwrite=True)
    with pytest.raises(ValueError, match=r'end in \.json or \.pkl, got .*a\.yaml'):
        convert_info_file(source, tmp_path / 'a.yaml')


def test_the_tool(small_root, tmp_path):
    command = [sys.executable, 'tools/convert_infos.py', str(small_root / 'nuscenes_infos_train.pkl'),
               str(tmp_path / 'a.json')]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and 'a.json: ' in done.stdout, done.stderr
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 1 and again.stderr.startswith('convert_infos.py: ') and '--overwrite' in again.stderr


@pytest.mark.parametrize('ending', ['json', 'pkl'])
@pytest.mark.parametrize('old', [b'what was there', None])
def test_a_disk_that_takes_no_more(old, ending, tmp_path):
    mmengine.dump(dict(metainfo={}, data_list=[dict(token='a' * 5000)]), tmp_path / 'a.pkl')
    target = tmp_path / 'out' / f'b.{ending}'
    target.parent.mkdir()
    if old:
        target.write_bytes(old)
    said = re.escape(f'{target} could not be written (File too large): 5,0') + r'\d\d bytes are needed, .* are free .*'
    with files_of_at_most(4096), pytest.raises(NotWrittenError, match=f'{said}give the same command again'):
        convert_info_file(tmp_path / 'a.pkl', target, overwrite=True)
    assert [path.read_bytes() for path in target.parent.iterdir()] == ([old] if old else [])
