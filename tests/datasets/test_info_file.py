"""Reading info files: only data, and clear words about anything else."""
import os
import pickle

import numpy as np
import pytest

from scene_qformer.datasets.info_file import load_info_file

GOOD = dict(metainfo=dict(version='v1.0-mini'), data_list=[dict(token='a')])


def write(path, content, protocol=2):
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize('protocol', range(6))
def test_reads_containers_and_arrays_of_any_protocol(tmp_path, protocol):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    values = dict(array=array, empty=np.zeros((0, 2)), fortran=np.asfortranarray(array), number=np.float64(0.5),
                  flag=np.bool_(True), names=np.array(['car', 'bus']), mixed=np.array(['a', None], dtype=object),
                  raw=b'\xff\x00', some={1, 2})
    read = load_info_file(write(tmp_path / 'i.pkl', dict(GOOD, values=values), protocol))['values']
    for key in ('array', 'empty', 'fortran', 'names', 'mixed'):
        np.testing.assert_array_equal(read[key], values[key])
        assert read[key].dtype == values[key].dtype
    assert (read['number'], read['flag'], read['raw'], read['some']) == (0.5, True, b'\xff\x00', {1, 2})


def test_reads_what_either_numpy_wrote(tmp_path):
    """NumPy 2 says numpy._core where NumPy 1 said numpy.core."""
    content = pickle.dumps(dict(GOOD, array=np.arange(3)), protocol=2)
    for name in (b'numpy.core', b'numpy._core'):
        path = tmp_path / 'i.pkl'
        path.write_bytes(content.replace(b'numpy._core', b'numpy.core').replace(b'numpy.core', name))
        assert load_info_file(path)['array'].tolist() == [0, 1, 2]


class Attack:

    def __reduce__(self):
        return os.mkdir, ('attacked', )


def test_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / 'i.pkl', dict(GOOD, extra=Attack()))
    with pytest.raises(ValueError, match=r'Cannot unpickle the info file .*refers to posix.mkdir; only plain'):
        load_info_file(path)
    assert not (tmp_path / 'attacked').exists()


@pytest.mark.parametrize('module, name', [('builtins', 'eval'), ('numpy', 'load'), ('os', 'system'),
                                          ('numpy.core.multiarray', 'fromfile'), ('mmengine.config', 'ConfigDict')])
def test_refuses_other_names(tmp_path, module, name):
    path = tmp_path / 'i.pkl'
    path.write_bytes(f'c{module}\n{name}\n.'.encode())
    with pytest.raises(ValueError, match=f'refers to {module}.{name}'):
        load_info_file(path)


@pytest.mark.parametrize('content, found', [
    (dict(infos=[], metadata=dict(version='v1.0-mini')), "a dict with 'infos', the format of mmdet3d 0.x"),
    ([dict(token='a')], 'a list, the format of mmdet3d 0.x'),
    (dict(data_list=[]), r"a dict with the keys \['data_list'\]"),
    ('text', 'a str'),
])
def test_other_eras(tmp_path, content, found):
    with pytest.raises(ValueError, match=f"'metainfo' and 'data_list'.*found {found}.*\n.*\n.*tools/create_data.py"):
        load_info_file(write(tmp_path / 'i.pkl', content))


@pytest.mark.parametrize('content', [b'', b'not a pickle', pickle.dumps(GOOD)[:-7]])
def test_damaged(tmp_path, content):
    path = tmp_path / 'i.pkl'
    path.write_bytes(content)
    with pytest.raises(ValueError, match='Cannot unpickle the info file .*(\n.*)*damaged.*\n.*tools/create_data.py'):
        load_info_file(path)


def test_missing_root_and_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='data root .*nowhere does not exist.*(\n.*)*create_synthetic_nuscenes'):
        load_info_file(tmp_path / 'nowhere/i.pkl')
    with pytest.raises(FileNotFoundError, match=f'no info file .*i.pkl.\nCreate it with\n.*--root {tmp_path} '):
        load_info_file(tmp_path / 'i.pkl')
