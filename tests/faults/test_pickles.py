"""Pickles that ask their reader for something that no info file needs: each is told what it asks for."""
import pickle
import re
from collections import OrderedDict

import mmengine
import numpy as np
import pytest

from faults.pickled import RECONSTRUCT, SCALAR, Calls, array_of
from scene_qformer.datasets.info_file import load_info_file
from tests.engine.test_pickled_tensors import EVIL

AREA = 'Info files'
REMEDY = ('Do not use this file. Create info files from your own copy of nuScenes: python tools/create_data.py --root '
          'ROOT --version VERSION.')
ENCODE = b'c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00utf-7tR.'
EMPTY_ARRAY = Calls(RECONSTRUCT, np.ndarray, (0, ), b'b')
ASKS = {
    'an array of records': (array_of((1, ), np.dtype([('a', 'f8')]), b'12345678'), "of type 'V8'; expected numbers"),
    'an array of dates': (array_of((1, ), np.dtype('M8[s]'), b'12345678'), "of type 'M8'; expected numbers or texts"),
    'a type with fields': (array_of((2, ), Calls(np.dtype, 'f8', False, True,
                                                 state=(3, '<', None, ('a', ), {'a': (1, 9)}, -1, -1, 63)), b''),
                           'an array type with the state .*; expected that of numbers or texts'),
    'a type whose state is a number': (array_of((2, ), Calls(np.dtype, 'f8', False, True, state=7), b''),
                                       'an array type with the state 7; expected that'),
    'a state that is a number': (Calls(RECONSTRUCT, np.ndarray, (0, ), b'b', state=7), 'an array whose state is none'),
    'a state of two': (Calls(RECONSTRUCT, np.ndarray, (0, ), b'b', state=(1, 2)), 'an array whose state is none'),
    'no state': (EMPTY_ARRAY, 'an array without values'),
    'numbers in a list': (array_of((1, ), np.dtype('f8'), [1.5]), 'an array of float64 whose values are in list'),
    'objects in bytes': (array_of((1, ), np.dtype('O'), b'12345678'), 'an array of object whose values are in bytes'),
    'a scalar of a number': (Calls(SCALAR, np.dtype('O'), b'12345678'), 'an array of object whose values are in bytes'),
    'a set of a number': (Calls(set, 7), 'a set made of int; expected a list'),
    'a frozenset of a dict': (Calls(frozenset, {'a': 1}), 'a frozenset made of dict; expected a list'),
    'bytes of a number': (Calls(bytes, 10 ** 12), 'bytes made of int'),
    'an OrderedDict of a number': (Calls(OrderedDict, 7), 'an OrderedDict made of int; expected a list'),
    'a function': (np.dtype, 'the name of a function where data was expected'),
    'a type of no array': (np.dtype('f8'), 'the name of a function where data was expected'),
    'an array as a key': ({EMPTY_ARRAY: 1}, 'an array as a key or in a set'),
    'an array in a set': (frozenset([EMPTY_ARRAY]), 'an array as a key or in a set'),
}


def read(tmp_path, value=None, content=None):
    """What the reader of info files says; the entry stands in a frame, unless the content of the file is given."""
    path = tmp_path / 'infos.pkl'
    path.write_bytes(content or pickle.dumps(dict(metainfo={}, data_list=[dict(token='a', x=value)]), protocol=2))
    with pytest.raises(ValueError, match=r'(?s)Cannot unpickle the info file .*infos.pkl: .*create_data') as caught:
        load_info_file(path)
    return str(caught.value)


@pytest.mark.fault(area=AREA, fault='an entry of a pickle that is no data, or lies about its size',
                   expected='refused, and said what it asks for', remedy=REMEDY)
@pytest.mark.parametrize('name', ASKS)
def test_no_data(tmp_path, show, name):
    value, match = ASKS[name]
    said = read(tmp_path, value)
    assert re.search(match, said), said
    show(said.splitlines()[0])  # what follows is the same for all


@pytest.mark.fault(area=AREA, fault='a pickle that wants bytes of another encoding', expected='refused', remedy=REMEDY)
def test_encoding(tmp_path, show):
    said = read(tmp_path, content=ENCODE)
    assert "bytes in the encoding 'utf-7'; expected latin1" in said
    show(said)


@pytest.mark.fault(area=AREA, fault='results that were dumped, with a state for what has none', expected='refused',
                   remedy='Do not use this file, or make it anew: run the test again with DumpResults.')
@pytest.mark.parametrize('name', ['a state for a tensor', 'a state for a mode'])
def test_states(tmp_path, show, name):
    mmengine.dump(EVIL[name], tmp_path / 'results.pkl', protocol=2)
    with pytest.raises(ValueError, match='Cannot unpickle the file: a state for a .*, which has none') as caught:
        mmengine.load(tmp_path / 'results.pkl')
    show(caught.value)
