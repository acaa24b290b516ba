"""What data-only unpickling builds, and that memory is bounded while it does."""
import pickle
import resource

import mmengine
import numpy as np
import pytest

from scene_qformer.bounded_memory import bounded_memory
from scene_qformer.data_only_pickle import loads_data

ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)
VALUES = dict(
    array=ARRAY, empty=np.zeros((0, 2)), fortran=np.asfortranarray(ARRAY), swapped=ARRAY.astype('>f4'),
    names=np.array(['car', 'bus']), letters=np.array([b'a', b'bc']), no_letters=np.array(['', '']), flags=ARRAY > 2,
    complex=np.array([1 + 2j]), one=np.array(7, np.int16))


@pytest.mark.parametrize('protocol', range(6))
def test_arrays_come_back_as_they_were(protocol):
    read = loads_data(pickle.dumps(VALUES, protocol=protocol), 'x')
    for key, value in VALUES.items():
        assert type(read[key]) is np.ndarray and read[key].dtype == value.dtype and read[key].shape == value.shape
        assert read[key].flags.writeable and read[key].tolist() == value.tolist(), key
    assert read['fortran'].flags.f_contiguous


@pytest.mark.parametrize('protocol', range(6))
def test_arrays_anywhere(protocol):
    held = dict(t=(ARRAY, (1, [ARRAY])), o=np.array([ARRAY[0], None, [ARRAY]], dtype=object), n=np.float32(0.1))
    read = loads_data(pickle.dumps(held, protocol=protocol), 'x')
    assert read['t'][0].tolist() == read['t'][1][1][0].tolist() == read['o'][2][0].tolist() == ARRAY.tolist()
    assert read['o'][0].tolist() == [0., 1., 2.] and read['o'][1] is None
    assert read['n'] == np.float32(0.1) and type(read['n']) is np.float32


def test_what_is_held_twice_stays_one_and_what_holds_itself_ends():
    loop: list = [ARRAY]
    loop.append(loop)
    read = loads_data(pickle.dumps(dict(a=loop, b=loop, c=[ARRAY, ARRAY])), 'x')
    assert read['a'] is read['b'] and read['a'][1] is read['a'] and read['c'][0] is read['c'][1]


def test_a_pickle_cannot_change_its_reader():
    """A state given to a name, not to what it builds, would stay for the next file."""
    evil = b'c_codecs\nencode\n(N}X\x08\x00\x00\x00functionK\x07s\x86b.'
    with pytest.raises(ValueError, match='Cannot unpickle x'):
        loads_data(evil, 'x')
    assert loads_data(pickle.dumps(dict(raw=b'\xff'), protocol=2), 'x') == dict(raw=b'\xff')


def test_memory_is_bounded_and_given_back():
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(MemoryError), bounded_memory(1000):
        bytearray(2 << 30)
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    with bounded_memory(1000):
        assert len(bytearray(1 << 20)) == 1 << 20


def test_mmengine_reads_what_it_writes(tmp_path):
    content = dict(boxes=ARRAY, names=['a'], nested=dict(x=[1, 2.5, None, True]))
    for ending in ('pkl', 'pickle'):
        mmengine.dump(content, tmp_path / f'x.{ending}')
        read = mmengine.load(tmp_path / f'x.{ending}')
        assert read['boxes'].tolist() == ARRAY.tolist() and read['nested'] == content['nested']
    mmengine.dump(dict(a=[1, 2.5, None, 'b']), tmp_path / 'x.yaml')
    assert mmengine.load(tmp_path / 'x.yaml') == dict(a=[1, 2.5, None, 'b'])
    with pytest.raises(ValueError, match='read as data alone, without encoding'):
        mmengine.load(tmp_path / 'x.pkl', encoding='latin1')
