"""Mixed precision where there is no GPU."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn


def bfloat16_is_fast() -> bool:
    """Whether this machine computes in bfloat16 natively: on a CUDA device, or a CPU with AVX512-BF16 or AMX."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return cpu_multiplies_bfloat16()


def cpu_multiplies_bfloat16() -> bool:
    """Whether this CPU has instructions for it (AVX512_BF16, AMX); others emulate it, slower than float32."""
    # private names of torch, so they may be gone tomorrow; without them the answer is the safe one
    probes = (getattr(torch.cpu, name, None) for name in ('_is_avx512_bf16_supported', '_is_amx_tile_supported'))
    return any(probe is not None and probe() for probe in probes)


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Autocast to bfloat16 on the device of the model; no loss scaling, as bfloat16 has the exponents of float32.

    mmengine's ``AmpOptimWrapper`` refuses to work on a CPU; ``tools/train.py --amp`` takes this one there.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass in bfloat16 where that is safe."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, dtype=torch.bfloat16):
            yield
