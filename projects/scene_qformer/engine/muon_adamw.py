"""Muon for the matrices of hidden layers, AdamW for all else."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn
from torch.optim import Optimizer


@OPTIMIZERS.register_module()
class MuonAdamW(Optimizer):
    """torch's ``Muon`` and torch's ``AdamW`` as one optimizer.

    Muon (Jordan et al., https://kellerjordan.github.io/posts/muon/) makes all singular values of a matrix's step alike,
    so that rare directions are learned as fast as common ones. It is meant for small language models that learn to read
    scene tokens from nothing, and learn the text first. Its step is scaled to the size of AdamW's
    (Liu et al., arXiv 2502.16982, section 2.2), so that rates are comparable.

    Args:
        params: Two groups: ``dict(params=matrices, muon=True)`` and ``dict(params=others, muon=False)``, as
            :class:`MuonOptimWrapperConstructor` makes them. Either may be empty, but not both.
        lr: Learning rate of AdamW.
        muon_lr: That of Muon.
        weight_decay: Of both, decoupled.
        betas: Of AdamW.
        momentum: Of Muon.
        fused: Of AdamW.

    Raises:
        ImportError: If torch has no Muon; 2.9 is the first that has.
        ValueError: If the groups are others, or a parameter for Muon is not a matrix.
    """

    def __init__(self,
                 params: Sequence[dict],
                 lr: float = 1e-3,
                 muon_lr: float = 3e-3,
                 weight_decay: float = 0.05,
                 betas: tuple[float, float] = (0.9, 0.95),
                 momentum: float = 0.95,
                 fused: bool | None = None) -> None:
        if not hasattr(torch.optim, 'Muon'):
            raise ImportError(f'MuonAdamW needs torch 2.9 or later, which has Muon; this is {torch.__version__}. Take '
                              "another optimizer: optim_wrapper=dict(_delete_=True, type='OptimWrapper', "
                              "optimizer=dict(type='AdamW', lr=1e-3)).")
        groups = list(params)
        if not all(isinstance(group, dict) and 'muon' in group for group in groups):
            raise ValueError("MuonAdamW needs to know which parameters are whose: set "
                             "optim_wrapper.constructor='MuonOptimWrapperConstructor'.")
        groups = [dict(group, params=list(group['params'])) for group in groups]
        super().__init__([group for group in groups if group['params']], dict(lr=lr))
        matrices, others = ([value for group in groups if group['muon'] is muon for value in group['params']]
                            for muon in (True, False))
        self.parts: dict[str, Optimizer] = {}
        if matrices:
            self.parts['muon'] = torch.optim.Muon(matrices, lr=muon_lr, weight_decay=weight_decay, momentum=momentum,
                                                  adjust_lr_fn='match_rms_adamw')
        if others:
            self.parts['adamw'] = torch.optim.AdamW(others, lr=lr, weight_decay=weight_decay, betas=betas, fused=fused)
        self._show_groups()

    def _show_groups(self) -> None:
        """The parts' own groups: what schedules and clipping change there is what the parts use."""
        self.param_groups = [group for part in self.parts.values() for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of both."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts.values():
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Of each part."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Only at the start: which parameters are whose is decided there.

        Raises:
            RuntimeError: Later.
        """
        if hasattr(self, 'parts'):
            raise RuntimeError('MuonAdamW takes no parameters later: build it anew.')
        super().add_param_group(param_group)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), 'parts': self.parts}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Of each part.

        Raises:
            ValueError: If it is of another optimizer, or of other parameters.
        """
        # mixed precision leaves a key of its own
        if not self.parts.keys() <= state_dict.keys():
            raise ValueError(f'Expected the state of MuonAdamW ({", ".join(self.parts)}), got {", ".join(state_dict)}: '
                             'the checkpoint is of another optimizer. Start anew, or with load_from.')
        for name, part in self.parts.items():
            part.load_state_dict(state_dict[name])
        self._show_groups()


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MuonOptimWrapperConstructor:
    """Gives :class:`MuonAdamW` the weights of all ``nn.Linear`` layers, but of none whose rows are single words.

    These are embeddings, and the output layers of language models. Other layers with matrices, such as the ``Conv1D``
    of GPT-2 and the joint projection in ``nn.MultiheadAttention``, are left to AdamW, as all else is. The log says how
    many numbers each has. Frozen parameters go to none.

    Args:
        optim_wrapper_cfg: The config's ``optim_wrapper``.
        paramwise_cfg: Must be empty.

    Raises:
        ValueError: If it is not.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        if paramwise_cfg:
            raise ValueError(f'MuonOptimWrapperConstructor takes no paramwise_cfg, got {dict(paramwise_cfg)}: rates '
                             'are lr and muon_lr of the optimizer.')
        self.optim_wrapper_cfg = dict(optim_wrapper_cfg)

    def __call__(self, model: nn.Module) -> Any:
        """The optim wrapper for a model."""
        model = getattr(model, 'module', model)
        words = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
        for module in model.modules():
            if hasattr(module, 'get_output_embeddings') and (output := module.get_output_embeddings()) is not None:
                words.add(id(output.weight))
        matrices = {id(module.weight): module.weight for module in model.modules()
                    if isinstance(module, nn.Linear) and id(module.weight) not in words and module.weight.requires_grad}
        others = [value for value in model.parameters() if value.requires_grad and id(value) not in matrices]
        sizes = [sum(value.numel() for value in values) for values in (matrices.values(), others)]
        print_log(f'MuonAdamW: {len(matrices)} matrices with {sizes[0]:,} numbers by Muon, {sizes[1]:,} by AdamW',
                  'current')
        cfg = dict(self.optim_wrapper_cfg)
        groups = [dict(params=list(matrices.values()), muon=True), dict(params=others, muon=False)]
        cfg['optimizer'] = OPTIMIZERS.build({**cfg['optimizer'], 'params': groups})
        cfg.setdefault('type', 'OptimWrapper')
        return OPTIM_WRAPPERS.build(cfg)
