"""Weights of a timm model from a local file."""
from __future__ import annotations

import sys
from collections.abc import Sequence

from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn


def load_timm_weights(model: nn.Module, skeleton: nn.Module, checkpoint: str) -> None:
    """Load a file that timm (or whoever trained the net first) published.

    timm's own filter of the architecture adapts the file: names of the original release, position embeddings resampled
    to the model's image size, relative position tables to its windows. Then every weight of ``model`` must be there.

    Args:
        model: The model, perhaps without its head and its last stages.
        skeleton: The whole model of the same arguments; needs no memory for weights.
        checkpoint: Path of a ``.safetensors`` or torch file; read without executing anything.

    Raises:
        ValueError: If the file is that of another model; names what is missing, unknown or of another shape.
    """
    state_dict = CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu')
    for key in ('state_dict_ema', 'model_ema', 'state_dict', 'model'):
        if isinstance(state_dict.get(key), dict):
            state_dict = state_dict[key]
    # By timm's custom the filter stands beside the class. Nets without one (ResNet, RegNet ...) have nothing to adapt.
    adapt = getattr(sys.modules[type(skeleton).__module__], 'checkpoint_filter_fn', None)
    if adapt is not None:
        try:
            state_dict = adapt(state_dict, skeleton)
        except Exception as error:  # it may stumble over a foreign file in any way
            raise ValueError(f'{checkpoint} does not fit {type(model).__name__}: timm cannot read it as such a model '
                             f'({type(error).__name__}: {error}). Is it the file of another model?') from error
    check_fit(model, skeleton, state_dict, checkpoint)
    own = model.state_dict()
    model.load_state_dict({name: tensor for name, tensor in state_dict.items() if name in own}, strict=False)


def check_fit(model: nn.Module, skeleton: nn.Module, state_dict: dict[str, Tensor], checkpoint: str) -> None:
    """Whether a file's weights are those of this model.

    Left over may be what the whole model has and this one has not (classifier, last stages), and parts that are no part
    of the model at all (a text tower, the head of the pretraining).

    Raises:
        ValueError: If not.
    """
    own, whole = model.state_dict(), skeleton.state_dict()
    parts = {name.split('.')[0] for name in own}
    missing = [name for name in own if name not in state_dict and not name.endswith('num_batches_tracked')]
    unknown = [name for name in state_dict if name not in whole and name.split('.')[0] in parts]
    other_shape = [f'{name} (file {tuple(state_dict[name].shape)}, model {tuple(tensor.shape)})'
                   for name, tensor in own.items() if name in state_dict and state_dict[name].shape != tensor.shape]
    problems = [f'{len(names)} {what}: {_first(names)}' for what, names in (
        (f'of {len(own)} weights are missing in the file', missing),
        ('weights of the file are unknown to the model', unknown),
        ('weights have another shape', other_shape)) if names]
    if problems:
        raise ValueError(f'{checkpoint} does not fit {type(model).__name__}:\n  ' + '\n  '.join(problems) + '\nGive '
                         'the file that belongs to the name (timm publishes one for each), or the name and '
                         'model_kwargs that belong to the file.')


def _first(names: Sequence[str], count: int = 5) -> str:
    return ', '.join(names[:count]) + (', ...' if len(names) > count else '')
