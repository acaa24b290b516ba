"""Which of a language model's weights a checkpoint holds.

Frozen weights that came from files are not written again with every checkpoint (those of 7 billion parameters are 14 GB
in half precision), and nobody misses them on loading. Everything else is written: adapters, trained weights, and random
ones, frozen or not, which no file has.
"""
from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

# What peft puts into names when it wraps a model, and a layer of it.
WRAPPER, WRAPPED_LAYER = 'base_model.model.', '.base_layer.'


def leave_out_of_checkpoints(module: nn.Module, names: Iterable[str]) -> None:
    """From now on ``module.state_dict()``, and that of any parent, is without these entries, and loads without them.

    Args:
        module: The module.
        names: Names of entries of its state dict.
    """
    left_out = frozenset(names)

    def drop(module: nn.Module, state_dict: dict[str, Tensor], prefix: str, local_metadata: dict) -> None:
        for name in left_out:
            state_dict.pop(prefix + name, None)

    def supply(module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *args: object) -> None:
        own = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))
        for name in left_out:
            state_dict.setdefault(prefix + name, own[name].detach())

    module.register_state_dict_post_hook(drop)
    module.register_load_state_dict_pre_hook(supply)


def accept_names_without_adapters(module: nn.Module, names: Iterable[str]) -> None:
    """From now on a model with adapters also loads a checkpoint of the same model without.

    ``llm.model.layers.0.self_attn.q_proj.weight`` becomes
    ``llm.base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight``.

    Args:
        module: The module.
        names: Names of entries of its state dict, as peft made them.
    """
    plain_names = {name: name.replace(WRAPPER, '', 1).replace(WRAPPED_LAYER, '.') for name in names}

    def rename(module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *args: object) -> None:
        for name, plain in plain_names.items():
            if prefix + name not in state_dict and prefix + plain in state_dict:
                state_dict[prefix + name] = state_dict.pop(prefix + plain)

    module.register_load_state_dict_pre_hook(rename)
