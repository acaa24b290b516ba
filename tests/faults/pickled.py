"""Pickles that do not mean well, by name."""
from __future__ import annotations

import os
import pickle

import numpy as np

RECONSTRUCT = np.empty(0).__reduce__()[0]
SCALAR = np.float64(0).__reduce__()[0]


class Calls:
    """Pickled as a call of a function, with a state to give the result."""

    def __init__(self, function, *args, state=None) -> None:
        self.reduced = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.reduced


def array_of(shape, dtype, content) -> Calls:
    """An array that says of itself what it likes."""
    return Calls(RECONSTRUCT, np.ndarray, (0, ), b'b', state=(1, shape, dtype, False, content))


def named(module: str, name: str, arguments: bytes = b'(V1\ntR') -> bytes:
    """A pickle of protocol 0 that calls a function by its name."""
    return f'c{module}\n{name}\n'.encode() + arguments + b'.'


# Ways to run code, of which each touches the file that it is given, if it is run.
def code(canary) -> dict[str, object]:
    """What to pickle."""
    command = f'touch {canary}'
    return {
        'os.system': Calls(os.system, command),
        'eval': Calls(eval, f'open({str(canary)!r}, "w")'),
        'exec': Calls(exec, f'open({str(canary)!r}, "w")'),
        'open': Calls(open, str(canary), 'w'),
        'getattr': Calls(getattr, Calls(__import__, 'os'), 'system'),
        'import': Calls(__import__, 'antigravity'),
        'numpy.fromfile': Calls(np.fromfile, '/etc/hostname', 'u1'),
        'numpy.memmap': Calls(np.memmap, str(canary), 'u1', 'w+', 0, (1, )),
        'in a state': Calls(dict, state=Calls(os.system, command)),
        'as a key': {('token', Calls(os.system, command)): 1},
    }


# None of them would end well: NumPy reads beyond the end, or there is not that much memory or time.
BOMBS = {
    'an object array longer than its list': array_of((10 ** 6, ), np.dtype('O'), [1, 2]),
    'an array larger than its bytes': array_of((10 ** 12, ), np.dtype('f8'), b'12345678'),
    'an array smaller than its bytes': array_of((0, ), np.dtype('f8'), b'12345678'),
    'a negative side': array_of((-1, ), np.dtype('f8'), b''),
    'a side that is no number': array_of(('7', ), np.dtype('f8'), b''),
    'sides that overflow': array_of((2 ** 62, 4), np.dtype('f8'), b''),
    'forty axes': array_of((1, ) * 40, np.dtype('f8'), b'12345678'),
    'an array of records': array_of((1, ), np.dtype([('a', 'f8')]), b'12345678'),
    'a date': array_of((1, ), np.dtype('M8[s]'), b'12345678'),
    'a type with foreign flags': array_of((2, ), Calls(np.dtype, 'f8', False, True,
                                                       state=(3, '<', None, ('a', ), {'a': (1, 10 ** 6)}, -1, -1, 63)),
                                          [1]),
    'an array of no type': array_of((1, ), 'f8', b'12345678'),
    'an array without a state': Calls(RECONSTRUCT, np.ndarray, (10 ** 9, ), b'O'),
    'a state that is none': Calls(RECONSTRUCT, np.ndarray, (0, ), b'b', state=7),
    'an array as a key': {Calls(RECONSTRUCT, np.ndarray, (0, ), b'b'): 1},
    'a scalar of objects': Calls(SCALAR, np.dtype('O'), b'12345678'),
    'a scalar of too few bytes': Calls(SCALAR, np.dtype('f8'), b'123'),
    'a set of a trillion': Calls(set, Calls(range, 10 ** 12)),
    'bytes by the trillion': Calls(bytes, 10 ** 12),
    'a bytearray by the trillion': Calls(bytearray, 10 ** 12),
}
# The unpickler's own machine.
RAW = {
    'a memo of gigabytes': b'\x80\x02]r\xff\xff\xff\xff.',
    'a memo of four gigabytes': b'\x80\x02]r\xff\xff\xff\x0f.',
    'bytes of an exabyte': b'\x80\x04\x8e' + (1 << 60).to_bytes(8, 'little') + b'ab.',
    'a frame of an exabyte': b'\x80\x04\x95' + (1 << 60).to_bytes(8, 'little') + b'].',
    'a number of negative length': b'\x80\x02\x8b\xff\xff\xff\xff.',
    'an unknown protocol': b'\x80\x63].',
    'a persistent id': b'Pgo there\n.',
    'an extension code': b'\x80\x02\x82\x07.',
    'nothing on the stack': b'.',
    'a call of data': b'\x80\x02}(tR.',
    'tuples in tuples': b'\x80\x02}X\x09\x00\x00\x00data_list' + b']' + b'\x85' * 10 ** 5 + b's.',
    'marks alone': b'(' * 10 ** 5,
    'a memo that is not there': b'h\x07.',
}
_PROTOCOLS = {name: pickle.dumps(dict(metainfo={}, data_list=[dict(token='a', x=bomb)]), protocol=2)
              for name, bomb in BOMBS.items() if not isinstance(bomb, dict)}
CONTENTS = _PROTOCOLS | RAW
