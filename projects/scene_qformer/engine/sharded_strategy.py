"""Training whose weights, gradients and optimizer state are spread over processes (PyTorch's FSDP)."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from mmengine._strategy import FSDPStrategy
from mmengine.dist import broadcast
from mmengine.optim import BaseOptimWrapper
from mmengine.registry import FUNCTIONS, OPTIMIZERS, STRATEGIES
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel, OptimStateDictConfig, StateDictConfig
from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler

from .muon_adamw import MuonAdamW


@FUNCTIONS.register_module()
def wrap_classes(module: nn.Module, recurse: bool, nonwrapped_numel: int, classes: Sequence[str]) -> bool:
    """FSDP's ``auto_wrap_policy``: modules of these classes are units, whose weights are gathered when they compute.

    What belongs to none stays in the outermost unit, and is whole from the first to the last line of the model's
    ``forward``. So only modules that are called, and by nothing but their ``forward``, may be units: the layers of a
    language model, whose embeddings the splice reads, but not that model itself.

    Args:
        module: In question.
        recurse: Whether FSDP asks if it should look further inside.
        nonwrapped_numel: Not used.
        classes: Names of classes, as ``LlamaDecoderLayer``.
    """
    return recurse or type(module).__name__ in classes


@STRATEGIES.register_module()
class ShardedStrategy(FSDPStrategy):
    """mmengine's ``FSDPStrategy``, put right where it trains wrongly or not at all.

    - It works on CPUs.
    - All processes begin with the weights of process 0, whatever their random state. (FSDP's ``sync_module_states``
      works on GPUs only.)
    - Gradients are clipped by their norm over all processes, also where a process holds none of the trained weights.
      mmengine takes that of the process' own shards, so that each would scale its part of a gradient differently.
    - Processes agree on the steps that a loss scaler leaves out, also where a fused optimizer looks for overflows.
    - The optimizer's state is loaded: PyTorch has changed the order of those arguments. So is what mmengine's wrapper
      keeps beside it, the scale of losses and the settings behind the logged learning rate.
    - ``sync_bn`` is heeded.

    One file holds the whole model and its optimizer, as without FSDP, so that any number of processes, or one without
    FSDP, can read it. It is gathered on process 0.

    Args:
        **kwargs: As ``FSDPStrategy``'s.

    Raises:
        ValueError: If the checkpoint is to be spread over files.
    """

    model_wrapper: dict | None
    state_dict_config: StateDictConfig
    optim_state_dict_config: OptimStateDictConfig

    def __init__(self, *, state_dict_cfg: str = 'full', **kwargs: Any) -> None:
        if state_dict_cfg != 'full':
            raise ValueError("ShardedStrategy writes whole checkpoints, state_dict_cfg='full', got "
                             f'{state_dict_cfg!r}: those in pieces are read by as many processes only as wrote them.')
        super().__init__(state_dict_cfg=state_dict_cfg, **kwargs)

    def _init_state_dict_cfg(self, state_dict_cfg: str | dict) -> None:
        super()._init_state_dict_cfg(state_dict_cfg)
        if not torch.cuda.is_available():
            # PyTorch would free the memory of what it "moves" from the CPU to the CPU, and read it afterwards
            self.state_dict_config = replace(self.state_dict_config, offload_to_cpu=False)
            self.optim_state_dict_config = replace(self.optim_state_dict_config, offload_to_cpu=False)

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        self.model_wrapper = {'type': 'MMFullyShardedDataParallel', **(self.model_wrapper or {})}
        if not torch.cuda.is_available():
            self.model_wrapper['device_id'] = torch.device('cpu')
        for tensor in (*model.parameters(), *model.buffers()):
            broadcast(tensor.detach())
        return super()._wrap_model(self.convert_model(model))

    def build_optim_wrapper(self, optim_wrapper: Any, model: nn.Module | None = None) -> BaseOptimWrapper:
        """As mmengine's, with the norm of all processes.

        Raises:
            ValueError: If the optimizer needs whole matrices, a loss scaler does not hear of other processes, or
                gradients are to be clipped in a way that FSDP does not know.
        """
        optimizer = optim_wrapper.get('optimizer') if isinstance(optim_wrapper, Mapping) else None
        if isinstance(optimizer, Mapping) and OPTIMIZERS.get(optimizer['type']) is MuonAdamW:
            raise ValueError('MuonAdamW needs whole matrices, and with FSDP a process has pieces of them: take AdamW, '
                             'or train without `strategy`.')
        built = super().build_optim_wrapper(optim_wrapper, model)
        if getattr(built, 'clip_grad_kwargs', None) and built.clip_func is nn.utils.clip_grad_norm_:
            if unknown := built.clip_grad_kwargs.keys() - {'max_norm', 'norm_type'}:
                raise ValueError('With FSDP, clip_grad takes max_norm and norm_type, got '
                                 f'{", ".join(sorted(unknown))}, too. Leave that out.')
            # In the place of the whole method, not of `clip_func` alone, which it does not call where a process has no
            # gradients; the others would wait for that one for ever.
            built._clip_grad = partial(self._clip_joint_norm, built)
        scaler = getattr(built, 'loss_scaler', None)
        if scaler is not None and not isinstance(scaler, ShardedGradScaler):
            raise ValueError('With FSDP, each process looks for overflows in its own pieces of gradients, and all must '
                             f'leave out the same steps: {type(built).__name__} needs use_fsdp=True.')
        if scaler is not None:
            # PyTorch leaves it to fused optimizers to leave a step out, and tells them of overflows in their own
            # process alone, or, after clipping, in a shape that they do not take.
            built.optimizer._step_supports_amp_scaling = False
        return built

    def _clip_joint_norm(self, wrapper: Any) -> None:
        """mmengine's ``OptimWrapper._clip_grad``, for the model instead of this process' parameters."""
        # The zero of a process without gradients: PyTorch writes the largest norm of the others into it
        self.model._zero_scalar = None
        norm = self.model.clip_grad_norm_(**wrapper.clip_grad_kwargs)
        wrapper.message_hub.update_scalar(f'train/{wrapper.grad_name}', float(norm))

    def optim_state_dict(self) -> dict:
        """Of the optimizer, whole, and of its wrapper, which FSDP would leave out."""
        return {**self.optim_wrapper.state_dict(), **super().optim_state_dict()}

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Of a whole checkpoint."""
        loaded = FullyShardedDataParallel.optim_state_dict_to_load(
            self.model, self.optim_wrapper.optimizer, {key: state_dict[key] for key in ('state', 'param_groups')})
        self.optim_wrapper.load_state_dict({**state_dict, **loaded})
