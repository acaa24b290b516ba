"""Which of a language model's weights a checkpoint holds.

Frozen weights that came from files are not written again with every checkpoint (those of 7 billion parameters are 14 GB
in half precision), and nobody misses them on loading. Everything else is written: adapters, trained weights, and random
ones, frozen or not, which no file has. So are frozen weights once a checkpoint has brought them: they may be others
than the files'. In place of what is left out stands a fingerprint of the files' weights, so that a checkpoint is not
taken for one of another language model.
"""
from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .llm_loading import DTYPES

FINGERPRINT = 'llm_fingerprint'  # its name in a checkpoint
NUM_HASHED = 64  # numbers of each tensor; a model that was tuned further differs in nearly all of them
# What peft puts into names when it wraps a model, and a layer of it.
WRAPPER, WRAPPED_LAYER = 'base_model.model.', '.base_layer.'


def fingerprint(llm: nn.Module) -> Tensor:
    """``(33,)`` uint8: dtype, then the SHA-256 of the shapes of all parameters and of the beginning of each."""
    digest = hashlib.sha256()
    for parameter in llm.parameters():
        digest.update(str(tuple(parameter.shape)).encode())
        start = parameter.detach().flatten()[:NUM_HASHED].cpu()
        digest.update(start.view(torch.uint8).numpy().tobytes())
    dtype = str(next(llm.parameters()).dtype).removeprefix('torch.')
    return torch.tensor([DTYPES.index(dtype), *digest.digest()], dtype=torch.uint8)


def leave_out_of_checkpoints(module: Any, names: Iterable[str], mark: Tensor) -> None:
    """From now on ``module.state_dict()``, and that of any parent, is without these entries, and loads without them.

    An entry that is loaded all the same is written again from then on.

    Args:
        module: The module; gets an attribute ``left_out``, the names that are left out now.
        names: Names of entries of its state dict.
        mark: :func:`fingerprint` of the weights as the files have them; written in place of the entries. Loading a
            checkpoint with another then raises a ValueError, unless the checkpoint holds all entries.
    """
    module.left_out = set(names)  # an attribute, so that a copy of the module has its own

    def drop(module: Any, state_dict: dict[str, Tensor], prefix: str, local_metadata: dict) -> None:
        for name in module.left_out:
            state_dict.pop(prefix + name, None)
        if module.left_out:
            state_dict[prefix + FINGERPRINT] = mark.clone()

    def supply(module: Any, state_dict: dict[str, Tensor], prefix: str, *args: object) -> None:
        other = state_dict.pop(prefix + FINGERPRINT, None)
        if other is not None:
            _check_same_files(mark, other)
        module.left_out = {name for name in module.left_out if prefix + name not in state_dict}
        own = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))
        for name in module.left_out:
            state_dict[prefix + name] = own[name].detach()

    module.register_state_dict_post_hook(drop)
    module.register_load_state_dict_pre_hook(supply)


def _check_same_files(mark: Tensor, other: Tensor) -> None:
    # rounded to another dtype, the same weights have another hash: then nothing is known
    if mark[0] == other[0] and not torch.equal(mark, other.to(mark.device)):
        raise ValueError('The checkpoint was trained with another language model, whose weights it does not hold: they '
                         'differ from those of the folder that the config names as model. Give the folder that it was '
                         'trained with (the config beside the checkpoint names it), or train anew with this one.')


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
