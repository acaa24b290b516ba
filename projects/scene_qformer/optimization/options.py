"""What may be switched in an optimised model, by plain names."""
from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

from ..engine import cpu_multiplies_bfloat16

PRECISIONS = ('auto', 'float32', 'bfloat16', 'float16', 'int8')
CAPTURES = ('auto', 'none', 'cuda_graph', 'compile')


@dataclasses.dataclass(frozen=True)
class InferenceOptions:
    """How a model is optimised for inference; ``docs/fast_inference.md`` says what each switch costs and gives.

    Attributes:
        precision: Of the image branch, the decoder and the projector. ``int8`` is of the image branch alone, on a CPU.
            ``auto``: bfloat16 on CUDA and on CPUs that multiply it, else float32.
        fold_batch_norm: Batch norm into the convolutions before it.
        channels_last: The memory layout of convolutions.
        merge_keys_values: Keys and values of all decoder layers in one product, where all of them attend globally.
        keep_constants: Keep what depends on the shapes alone between calls.
        capture: Of static shapes. ``auto``: a CUDA graph on CUDA where nothing waits for the host, else ``none``.
        missing_cameras: Keep a copy of the model as it was, for batches in which a camera is missing; without, they are
            refused.
    """

    precision: str = 'auto'
    fold_batch_norm: bool = True
    channels_last: bool = True
    merge_keys_values: bool = True
    keep_constants: bool = True
    capture: str = 'auto'
    missing_cameras: bool = False

    def __post_init__(self) -> None:
        for name, known in (('precision', PRECISIONS), ('capture', CAPTURES)):
            if getattr(self, name) not in known:
                raise ValueError(f'optimize knows the {name} {", ".join(known)}, got {getattr(self, name)!r}.')
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == 'bool' and not isinstance(value, bool):
                raise ValueError(f'optimize wants True or False for {field.name}, got {value!r}.')

    @classmethod
    def read(cls, optimize: bool | Mapping[str, Any] | InferenceOptions | None) -> InferenceOptions | None:
        """From what users write: ``True``, or some of the attributes as a dict; None where nothing is optimised.

        Raises:
            ValueError: If a name or a value is not known.
        """
        if optimize is None or optimize is False:
            return None
        if optimize is True:
            return cls()
        if isinstance(optimize, cls):
            return optimize
        if not isinstance(optimize, Mapping):
            raise ValueError(f'optimize is True, False or a dict of switches, got {optimize!r}.')
        known = [field.name for field in dataclasses.fields(cls)]
        if unknown := sorted(set(optimize) - set(known)):
            raise ValueError(f'optimize has no switch {", ".join(map(repr, unknown))}; it knows {", ".join(known)}.')
        return cls(**optimize)

    def resolve(self, device: torch.device) -> InferenceOptions:
        """The same without ``auto``, for a device.

        Raises:
            ValueError: If the device cannot do what is asked for.
        """
        cuda = device.type == 'cuda'
        precision = self.precision
        if precision == 'auto':
            precision = 'bfloat16' if cuda or cpu_multiplies_bfloat16() else 'float32'
        if precision == 'float16' and not cuda:
            raise ValueError("precision='float16' needs a CUDA device: CPUs compute it more slowly than float32. Use "
                             "'bfloat16', or 'auto'.")
        if precision == 'int8' and cuda:
            raise ValueError("precision='int8' is for the CPU (ONNX Runtime): on a CUDA device, use 'bfloat16'.")
        if self.capture == 'cuda_graph' and not cuda:
            raise ValueError(f"capture='cuda_graph' needs a CUDA device, got {device}: use 'none' or 'compile'.")
        capture = 'none' if self.capture == 'auto' and not cuda else self.capture
        return dataclasses.replace(self, precision=precision, capture=capture)

    @property
    def dtype(self) -> torch.dtype:
        """Of the decoder and the projector; ``resolve`` first."""
        if self.precision == 'int8':
            return torch.bfloat16 if cpu_multiplies_bfloat16() else torch.float32
        return getattr(torch, self.precision)
