"""What hooks want of a runner, however many processes or optimizers there are."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict
from torch import nn


def unwrapped_model(runner: Any) -> nn.Module:
    """The model, without what spreads it over processes."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def optim_wrappers(runner: Any) -> Iterator[Any]:
    """Those that update, of which there may be several."""
    wrapper = runner.optim_wrapper
    yield from wrapper.values() if isinstance(wrapper, OptimWrapperDict) else (wrapper, )


def updates_now(wrapper: Any) -> bool:
    """Whether what a wrapper has just counted is followed by an update. DeepSpeed's does not say; it may be."""
    return getattr(wrapper, 'should_update', lambda: True)()
