"""What results of mmdet3d hold beside plain data, for :func:`loads_data`: tensors and boxes.

``DumpResults`` and ``mmengine.dump`` pickle tensors as calls of PyTorch's own functions, which unpickle whatever they
are given (``torch.storage._load_from_bytes``) and believe what they are told of sizes (``Tensor.set_``). As with
NumPy's, nothing of these is handed out: stand-ins take the calls, check them, and are made into tensors and boxes in
the end.
"""
from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable
from typing import Any

import torch

from ..data_only_pickle import PickledClass, PickledValue
from .checkpoint_sizes import SMALL

_DTYPES = frozenset((torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128,
                     torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool))


class _PickledStorage(PickledValue):
    """The numbers of a tensor in a row, while a file is read; no value by themselves."""

    __slots__ = ('numbers', )

    def __init__(self, numbers: torch.Tensor) -> None:
        super().__init__(None)
        self.numbers = numbers


def load_storage(content: Any) -> _PickledStorage:
    """In place of ``torch.storage._load_from_bytes``.

    Raises:
        pickle.UnpicklingError: If it is anything but numbers.
    """
    if not isinstance(content, (bytes, bytearray)) or content[:1] != b'\x80':  # no archive, which could be compressed
        raise pickle.UnpicklingError('a tensor without its numbers')
    try:
        storage = torch.load(io.BytesIO(content), map_location='cpu', weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, LookupError, ValueError, TypeError,
            AttributeError) as error:
        raise pickle.UnpicklingError('a tensor whose numbers are damaged, or more than numbers') from error
    if not isinstance(storage, torch.storage.TypedStorage) or storage.dtype not in _DTYPES or (
            storage._untyped_storage.nbytes() > len(content)):
        raise pickle.UnpicklingError('a tensor whose numbers are none')
    return _PickledStorage(torch.empty(0, dtype=storage.dtype).set_(storage._untyped_storage))


def rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any = False, hooks: Any = None,
                   metadata: Any = None) -> PickledValue:
    """In place of ``torch._utils._rebuild_tensor_v2``; ``hooks`` are left out.

    Raises:
        pickle.UnpicklingError: If the numbers do not suffice for its shape.
    """
    if not isinstance(storage, _PickledStorage) or metadata or not isinstance(size, tuple) or not isinstance(
            stride, tuple) or len(size) != len(stride) or len(size) > 32 or not all(
                type(number) is int and 0 <= number < 1 << 48 for number in (offset, *size, *stride)):
        raise pickle.UnpicklingError(f'a tensor of shape {size!r:.60}; expected sides that are whole numbers')
    numbers, count = storage.numbers, math.prod(size)
    last = offset + sum((side - 1) * step for side, step in zip(size, stride))
    if count and last >= len(numbers) or count * numbers.element_size() > max(numbers.nbytes, SMALL):
        raise pickle.UnpicklingError(f'a tensor of shape {size}, with {len(numbers)} numbers')
    tensor = numbers.as_strided(size, stride, offset) if count else numbers.new_zeros(size)
    return PickledValue(tensor.requires_grad_(bool(requires_grad) and numbers.is_floating_point()))


class _PickledBoxes(PickledClass):
    """Boxes while a file is read; as a class, what a data sample calls its ``box_type_3d``."""

    name: str

    @classmethod
    def meant(cls) -> type:
        from mmdet3d import structures  # the readers of plain data work without it
        return getattr(structures, cls.name)

    def __setstate__(self, state: Any) -> None:
        held = state.get('tensor') if isinstance(state, dict) else None
        tensor = held.value if isinstance(held, PickledValue) else None
        if not isinstance(tensor, torch.Tensor) or tensor.dim() != 2 or tensor.shape[1] < 7 or (
                state.get('box_dim') != tensor.shape[1]):
            raise pickle.UnpicklingError('boxes whose numbers are none')
        self.value = self.meant()(tensor, box_dim=tensor.shape[1], with_yaw=bool(state.get('with_yaw')))
        self.value.tensor = tensor  # of its own type; they would make it float32


def _box_mode(number: Any) -> PickledValue:
    from mmdet3d.structures import Box3DMode
    return PickledValue(Box3DMode(number))


_BOXES = 'mmdet3d.structures.bbox_3d'
TENSORS_AND_BOXES: dict[tuple[str, str], Callable] = {
    ('torch._utils', '_rebuild_tensor_v2'): rebuild_tensor,
    ('torch.storage', '_load_from_bytes'): load_storage,
    (f'{_BOXES}.box_3d_mode', 'Box3DMode'): _box_mode,
    **{(f'{_BOXES}.{module}', name): type(name, (_PickledBoxes, ), dict(name=name)) for module, name in (
        ('lidar_box3d', 'LiDARInstance3DBoxes'), ('cam_box3d', 'CameraInstance3DBoxes'),
        ('depth_box3d', 'DepthInstance3DBoxes'))},
}
