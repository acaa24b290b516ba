"""A checkpoint whose tensors have other shapes than the model's is refused."""
from __future__ import annotations

from torch import nn


def refuse_other_shapes(module: nn.Module, state_dict: dict, prefix: str, *args) -> None:
    """Before loading: raise where a checkpoint's tensor has another shape than the model's.

    mmengine would log the mismatch and go on with random weights in that place.

    Raises:
        ValueError: Names the tensors and both shapes.
    """
    # a language model's frozen weights are in no checkpoint of its own, but may be in another's
    tensors = {**dict(module.named_parameters(remove_duplicate=False)), **module.state_dict()}
    own = {prefix + name: tensor for name, tensor in tensors.items()}
    if not prefix and not own.keys() & state_dict.keys():
        raise ValueError('The checkpoint holds no weight of this model: none of its '
                         f'{len(state_dict)} names occurs in {type(module).__name__} (first: '
                         f'{next(iter(state_dict), "none")}). Is it the checkpoint of another model?')
    wrong = [f'{name}: checkpoint {tuple(state_dict[name].shape)}, model {tuple(tensor.shape)}'
             for name, tensor in own.items() if name in state_dict and state_dict[name].shape != tensor.shape]
    if wrong:
        raise ValueError(f'The checkpoint does not fit this config: {len(wrong)} tensors have another shape:\n  '
                         + '\n  '.join(wrong[:10]) + '\nUse the config that the checkpoint was trained with, or '
                         'remove these tensors from the checkpoint to start them afresh.')
