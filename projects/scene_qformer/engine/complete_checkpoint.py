"""A checkpoint must hold all that a model needs of it: on loading, mmengine only warns of what is missing."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from .safe_checkpoint import load_from_safe_file

# Parts that training alone needs.
TRAINING_PARTS = ('aux_heads.', 'denoising.')
# Parts that neither scene tokens nor answers depend on.
DETECTION_PARTS = ('bbox_head.', *TRAINING_PARTS)
# What nothing is computed with: the counter of batch normalisation in training, which older checkpoints are without,
# and the mark of a frozen language model, which checks itself on loading and is gone where a checkpoint holds that
# model.
NO_WEIGHTS = ('.num_batches_tracked', '.llm_fingerprint')
_DATA_PARALLEL = 'module.'  # before every name in checkpoints of a wrapped model


def checkpoint_weights(checkpoint: str | Path) -> dict[str, Tensor]:
    """The weights of a checkpoint by name, on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is none.
    """
    content = load_from_safe_file(str(checkpoint), map_location='cpu')
    return {name.removeprefix(_DATA_PARALLEL): value for name, value in content.get('state_dict', content).items()}


def require_weights(model: nn.Module, checkpoint: str | Path, without: Sequence[str] = (),
                    weights: Mapping[str, Tensor] | None = None) -> None:
    """Check that every weight of a model is in a checkpoint; else it would stay random, and work nevertheless.

    What a module leaves out of its own state dict, as a frozen language model does, is not asked for.

    Args:
        model: The model, before or after loading.
        checkpoint: File written by training.
        without: What the names of weights that do not matter begin with.
        weights: Those of the checkpoint, if they were read before.

    Raises:
        ValueError: Names the parts that are missing.
    """
    there = checkpoint_weights(checkpoint) if weights is None else weights
    lacking = [name for name in model.state_dict() if name not in there and not name.startswith(tuple(without))
               and not name.endswith(NO_WEIGHTS)]
    if lacking:
        parts, found = _parts(lacking), _parts(there)
        advice = ('Give the config that it was trained with, which lies beside the checkpoint, with the same language '
                  'model and adapters.')
        if set(found) <= {'projector', 'language_model'}:
            advice += (' It looks like that of a TokenReader: to read images, join it with that of its encoder by '
                       'tools/join_checkpoints.py.')
        raise ValueError(f'The checkpoint {checkpoint} lacks {len(lacking)} weights of {", ".join(parts)}, such as '
                         f'{min(lacking)}; it has {", ".join(found) or "nothing"}. They would be random. {advice}')


def _parts(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name.partition('.')[0] for name in names))
