"""Unpickling that builds data and nothing else: plain containers, numbers, texts and NumPy arrays.

A pickle is a program. An allow-list of names keeps it from calling what it likes, but what it may call has to be
harmless with *any* arguments, and NumPy's own functions are not: ``ndarray.__setstate__`` reads beyond a list that is
shorter than the shape says, and a dtype's state can say where fields lie. So nothing of NumPy is handed out. Arrays and
dtypes are stand-ins, checked and made into arrays from their bytes; sets are made of lists alone, and bytes of bytes.
"""
from __future__ import annotations

import io
import math
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .bounded_memory import bounded_memory

# As NumPy writes dtypes: kind and bytes an element (U: characters), byte order apart. No records, no dates.
_DTYPE = re.compile('b1|[iu][1248]|f[248]|c8|c16|O8?|[SU][0-9]{1,9}')


class PickledDtype:
    """Stands for a dtype while a file is read.

    Args:
        code: As in ``f4``, ``U13`` or ``O8``.

    Raises:
        pickle.UnpicklingError: If it is no number, text or object.
    """

    def __init__(self, code: Any = None, *_: Any) -> None:
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise pickle.UnpicklingError(f'an array of type {code!r:.60}; expected numbers or texts')
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        """Take the byte order; what else a state can say is of records and dates."""
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ('<', '>', '|', '=') or any(state[2:5]):
            raise pickle.UnpicklingError(f'an array type with the state {state!r:.60}; expected that of numbers or '
                                         'texts')
        if state[1] in '<>':
            self.dtype = self.dtype.newbyteorder(state[1])


class PickledArray:
    """Stands for an array while a file is read; :attr:`value` is the array."""

    value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        """Make the array.

        Raises:
            pickle.UnpicklingError: If there are not as many values as the shape says, or it is no array's state.
        """
        try:
            _, shape, dtype, fortran, content = state
        except (TypeError, ValueError):
            raise pickle.UnpicklingError('an array whose state is none') from None
        self.value = make_array(content, dtype, shape, 'F' if fortran else 'C')


class PickledValue:
    """Stands for a value while a file is read: a pickle may write into what it holds, and must not into this.

    Args:
        value: The value.
    """

    __slots__ = ('value', )

    def __init__(self, value: Any) -> None:
        self.value = value

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError(f'a state for a {type(self.value).__name__}, which has none')


class PickledClass:
    """Stands for objects of a class while a file is read, and for the class; made into a subclass for each file."""

    value: Any = None

    @classmethod
    def meant(cls) -> type:
        """The class that it stands for."""
        raise NotImplementedError

    def __setstate__(self, state: Any) -> None:
        """Make the object, :attr:`value`.

        Raises:
            pickle.UnpicklingError: If it is no state of such an object.
        """
        raise NotImplementedError


def make_array(content: Any, dtype: Any, shape: Any, order: Any = 'C') -> np.ndarray:
    """An array from what a file says of it.

    Args:
        content: Its bytes in that order, or, of objects, the list of them, which is in order C always.
        dtype: :class:`PickledDtype`.
        shape: Of whole numbers.
        order: In memory: ``C`` or ``F``.

    Raises:
        pickle.UnpicklingError: If these do not fit each other.
    """
    if not isinstance(dtype, PickledDtype) or not isinstance(shape, tuple) or order not in ('C', 'F') or len(
            shape) > 32 or not all(type(side) is int and 0 <= side < 1 << 48 for side in shape):
        raise pickle.UnpicklingError(f'an array of shape {shape!r:.60}; expected sides that are whole numbers')
    objects = dtype.dtype.kind == 'O'
    if not isinstance(content, list if objects else (bytes, bytearray)):
        raise pickle.UnpicklingError(f'an array of {dtype.dtype} whose values are in {type(content).__name__}')
    expected, found = math.prod(shape) * (1 if objects else dtype.dtype.itemsize), len(content)
    if expected != found:
        raise pickle.UnpicklingError(f'an array of shape {shape} and type {dtype.dtype}, which takes {expected} '
                                     f'{"values" if objects else "bytes"}, with {found}')
    if objects:
        array = np.empty(shape, dtype=object, order=order)
        for place, value in zip(np.ndindex(shape), content):  # one by one: NumPy would open lists
            array[place] = value  # whatever the order in memory, NumPy writes objects row by row
        return array
    if found:
        flat = np.frombuffer(bytes(content), dtype.dtype).copy()
    else:  # no element, or elements of no bytes, as np.array([''])
        flat = np.zeros(math.prod(shape) if math.prod(shape) < 1 << 20 else 0, dtype.dtype)
    return flat.reshape(shape, order=order)


def reconstruct(*_: Any) -> PickledArray:
    """In place of ``numpy.core.multiarray._reconstruct``."""
    return PickledArray()


def scalar(dtype: Any, content: Any = b'') -> Any:
    """In place of ``numpy.core.multiarray.scalar``."""
    if type(dtype) is PickledDtype and dtype.dtype.kind in 'biufc' and len(content) == dtype.dtype.itemsize:
        return np.frombuffer(content, dtype.dtype)[0]  # an info file holds hundreds a frame
    return make_array(content, dtype, ())[()]


class _Harmless:
    """A callable that a pickle may have. It may also write into it: into this one, made for it alone."""

    __slots__ = ('function', )

    def __init__(self, function: Callable) -> None:
        self.function = function

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


def _of_list(kind: type) -> Callable:
    def make(items: Any = ()) -> Any:
        if not isinstance(items, (list, tuple, set, frozenset)):  # a range of 2 ** 40 would be filled in
            raise pickle.UnpicklingError(f'a {kind.__name__} made of {type(items).__name__}; expected a list')
        return kind(items)
    return make


def _bytes_of(kind: type) -> Callable:
    def make(content: Any = b'', encoding: Any = 'latin1') -> Any:
        if isinstance(content, str):
            content = encode(content, encoding)
        if not isinstance(content, (bytes, bytearray)):  # bytes(2 ** 40) would be that many
            raise pickle.UnpicklingError(f'{kind.__name__} made of {type(content).__name__}')
        return kind(content)
    return make


def encode(text: Any, encoding: Any = 'latin1', *_: Any) -> bytes:
    """In place of ``_codecs.encode``, as protocol 2 writes bytes."""
    if not isinstance(text, str) or encoding not in ('latin1', 'latin-1'):
        raise pickle.UnpicklingError(f'bytes in the encoding {encoding!r:.60}; expected latin1')
    return text.encode('latin1')


def _ordered(items: Any = ()) -> OrderedDict:
    if not isinstance(items, (list, tuple)):
        raise pickle.UnpicklingError(f'an OrderedDict made of {type(items).__name__}; expected a list')
    return OrderedDict(items)


_BUILTINS: dict[str, Callable] = {
    'set': _of_list(set),
    'frozenset': _of_list(frozenset),
    'bytes': _bytes_of(bytes),
    'bytearray': _bytes_of(bytearray),
    'complex': complex,
}
_HANDED_OUT: dict[tuple[str, str], Callable] = {
    ('numpy', 'ndarray'): reconstruct,  # named as the first argument of _reconstruct
    ('numpy', 'dtype'): PickledDtype,
    # NumPy 2 renamed numpy.core to numpy._core.
    **{(f'numpy.{core}.{module}', name): function for core in ('core', '_core') for module, name, function in (
        ('multiarray', '_reconstruct', reconstruct), ('multiarray', 'scalar', scalar),
        ('numeric', '_frombuffer', make_array))},
    ('collections', 'OrderedDict'): _ordered,
    ('_codecs', 'encode'): encode,
    **{(module, name): function for module in ('builtins', '__builtin__') for name, function in _BUILTINS.items()},
}


_GROWTH = 100  # bytes of memory by byte of a pickle: an empty dict takes 64 and is one byte there


class _DataOnlyUnpickler(pickle.Unpickler):
    handed_out = False  # without a stand-in in it, the data need not be looked through
    more: Mapping[tuple[str, str], Callable] = {}

    def find_class(self, module: str, name: str) -> Any:
        found = _HANDED_OUT.get((module, name)) or self.more.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f'it refers to {module}.{name}; only plain Python containers and NumPy arrays '
                                         'of numbers and texts are read')
        self.handed_out = True
        if isinstance(found, type) and issubclass(found, PickledClass):
            return type(found.__name__, (found, ), {})
        return _Harmless(found)


def loads_data(content: bytes, source: str, more: Mapping[tuple[str, str], Callable] | None = None) -> Any:
    """Unpickle data.

    Args:
        content: Of a pickle, of any protocol.
        source: What errors call it: e.g. ``the info file nuscenes_infos_val.pkl``.
        more: What else a pickle may name, by module and name, and what takes its place: functions that are harmless
            with any arguments, or a :class:`PickledClass`. What they return must not be written into.

    Returns:
        What it holds, of dicts, lists, tuples, sets, texts, bytes, numbers, None and NumPy arrays, and of what
        ``more`` makes.

    Raises:
        ValueError: If it is damaged, or holds or asks for anything else; names the source.
    """
    try:
        unpickler = _DataOnlyUnpickler(io.BytesIO(content))
        unpickler.more = more or {}
        with bounded_memory(_GROWTH * len(content)):  # two opcodes can ask for any amount, by a place in the memo
            value = unpickler.load()
        return with_arrays(value) if unpickler.handed_out else value
    except RecursionError:
        found = 'it is nested too deeply'
    except MemoryError:
        found = 'it asks for more memory than there is'
    except (pickle.UnpicklingError, EOFError, ArithmeticError, ValueError, LookupError, AttributeError, TypeError,
            ImportError) as error:  # unpickling noise raises nearly anything
        found = str(error)
    raise ValueError(f'Cannot unpickle {source}: {found}.')


def with_arrays(value: Any, opened: tuple[type, ...] = ()) -> Any:
    """Put arrays where their stand-ins are.

    Args:
        value: As unpickled. Its lists and dicts are changed; tuples with arrays are made anew.
        opened: Classes whose attributes are looked through as well.

    Returns:
        The value.

    Raises:
        pickle.UnpicklingError: If a stand-in is where no data can be: as a key, in a set, or without values.
        RecursionError: If it is nested too deeply.
    """
    seen: dict[int, Any] = {}  # a container may hold itself, and be held twice

    def resolve(entry: Any) -> Any:
        if isinstance(entry, (PickledArray, PickledValue, PickledClass)):
            if entry.value is None:
                raise pickle.UnpicklingError('an array without values')
            entry = entry.value
        elif isinstance(entry, type) and issubclass(entry, PickledClass):
            entry = entry.meant()
        elif isinstance(entry, (PickledDtype, _Harmless)):
            raise pickle.UnpicklingError('the name of a function where data was expected')
        kind = type(entry)
        if kind is list and _LEAVES.issuperset(map(type, entry)):  # most of all there is: rows of matrices, boxes
            return entry
        if kind not in _CONTAINERS and not (kind is np.ndarray and entry.dtype.kind == 'O') and not isinstance(
                entry, opened):
            return entry
        if id(entry) in seen:
            return seen[id(entry)]
        seen[id(entry)] = entry
        if kind in (set, frozenset, dict, OrderedDict) and any(
                type(key) not in _LEAVES and isinstance(key, _STAND_INS) for key in entry):
            raise pickle.UnpicklingError('an array as a key or in a set')
        if kind in (dict, OrderedDict):
            for key, part in entry.items():
                if type(part) not in _LEAVES:
                    entry[key] = resolve(part)
        elif kind is list:
            entry[:] = [resolve(part) for part in entry]
        elif kind is tuple:
            parts = tuple(resolve(part) for part in entry)
            if any(new is not old for new, old in zip(parts, entry)):
                seen[id(entry)] = parts
            return seen[id(entry)]
        elif kind is np.ndarray:
            for place in np.ndindex(entry.shape):  # flattened, an array in column order would be a copy
                entry[place] = resolve(entry[place])
        elif kind not in (set, frozenset):
            resolve(vars(entry))
        return entry

    return resolve(value)


_LEAVES = frozenset((float, int, str, bool, type(None), np.float64, np.float32, np.bool_))
_CONTAINERS = (dict, OrderedDict, list, tuple, set, frozenset)
_STAND_INS = (PickledArray, PickledDtype, PickledValue, PickledClass, _Harmless, type)
