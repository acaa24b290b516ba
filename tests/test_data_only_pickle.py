"""What data-only unpickling builds, and that memory is bounded while it does."""
import itertools
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


SHAPES = [(), (1, ), (3, ), (0, ), (2, 3), (3, 2), (1, 3), (0, 3), (3, 0), (2, 3, 5), (2, 0, 5)]
LAYOUTS = dict(
    rows=np.copy, columns=np.asfortranarray, transposed=np.transpose,
    backwards=lambda array: np.flip(array) if array.ndim else array,
    every_other=lambda array: np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array)


def counted(shape, dtype):
    """Every element another one, so that none can take the place of another unseen."""
    array = np.zeros(shape, dtype)
    for number, place in enumerate(np.ndindex(shape)):
        array[place] = [f't{number}', number, 0.5 + number, (number, ), None][number % 5] if dtype == 'O' else number
    return array


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('dtype', ['O', 'f4', 'i8', 'U3', 'S3', 'c16'])
def test_arrays_of_any_layout_are_those_of_pickle(dtype, layout):
    """NumPy writes numbers and texts in their order in memory, and objects row by row."""
    for shape, protocol in itertools.product(SHAPES, range(6)):
        array = LAYOUTS[layout](counted(shape, dtype))
        content = pickle.dumps(array, protocol)
        read, expected = loads_data(content, 'x'), pickle.loads(content)
        assert read.tolist() == expected.tolist() == array.tolist(), shape
        assert (read.dtype, read.shape) == (expected.dtype, expected.shape)
        assert (read.flags.c_contiguous, read.flags.f_contiguous) == (
            expected.flags.c_contiguous, expected.flags.f_contiguous), shape


def test_objects_in_column_order():
    array = np.asfortranarray(np.array([['a', 'b', 'c'], ['d', 5, None]], dtype=object))
    assert loads_data(pickle.dumps(array), 'x').tolist() == [['a', 'b', 'c'], ['d', 5, None]]


@pytest.mark.parametrize('shape', [(), (3, ), (2, 3), (3, 2), (2, 3, 5)])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_arrays_in_arrays_of_any_layout(layout, shape):
    outer = np.empty(shape, dtype=object)
    for number, place in enumerate(np.ndindex(shape)):
        outer[place] = [np.full(2, number), np.array(number), [np.float32(number), np.zeros((0, 7))],
                        np.asfortranarray(np.array([[number, 'b'], [None, [ARRAY]]], dtype=object))][number % 4]
    outer = LAYOUTS[layout](outer)
    for protocol, place in itertools.product(range(6), np.ndindex(outer.shape)):
        read, expected = loads_data(pickle.dumps(outer, protocol), 'x'), outer[place]
        assert read.shape == outer.shape
        assert type(read[place]) is type(expected)
        assert repr(read[place]) == repr(expected), place  # of arrays, values, types and shapes


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
