"""Muon for the matrices of hidden layers, AdamW for all else."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn
from torch.optim import Optimizer


@OPTIMIZERS.register_module()
class MuonAdamW(Optimizer):
    """torch's ``Muon`` and torch's ``AdamW`` as one optimizer.

    Muon (Jordan et al., https://kellerjordan.github.io/posts/muon/) makes all singular values of a matrix's step alike,
    so that rare directions are learned as fast as common ones. A small language model that reads scene tokens from
    nothing has such: nearly all of its first gradients are about the text. Its step is scaled to the size of AdamW's
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

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Of each part.

        Raises:
            ValueError: If it is of another optimizer, or of other parameters.
        """
        if state_dict.keys() != self.parts.keys():
            raise ValueError(f'Expected the state of MuonAdamW ({", ".join(self.parts)}), got {", ".join(state_dict)}: '
                             'the checkpoint is of another optimizer. Start anew, or with load_from.')
        for name, part in self.parts.items():
            part.load_state_dict(state_dict[name])
        self._show_groups()


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MuonOptimWrapperConstructor:
    """Gives :class:`MuonAdamW` the weights of all linear layers, but not those that are, or share, an embedding.

    The output layer of a language model is left to AdamW too: its rows are single words. Frozen parameters go to none.

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
        words = {id(module.weight) for name, module in model.named_modules()
                 if isinstance(module, nn.Embedding) or name.endswith('lm_head')}
        matrices = {id(module.weight): module.weight for module in model.modules()
                    if isinstance(module, nn.Linear) and id(module.weight) not in words and module.weight.requires_grad}
        others = [value for value in model.parameters() if value.requires_grad and id(value) not in matrices]
        cfg = dict(self.optim_wrapper_cfg)
        groups = [dict(params=list(matrices.values()), muon=True), dict(params=others, muon=False)]
        cfg['optimizer'] = OPTIMIZERS.build({**cfg['optimizer'], 'params': groups})
        cfg.setdefault('type', 'OptimWrapper')
        return OPTIM_WRAPPERS.build(cfg)
