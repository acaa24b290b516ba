"""From frames to scene tokens: what the tokenizer and the extraction of a whole data set share."""
from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from mmdet3d.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope

from .dataset_config import innermost_dataset
from .datasets.nuscenes_scene_dataset import NuScenesSceneDataset
from .engine import DETECTION_PARTS, checkpoint_weights, require_weights
from .inference import load_model, spread_indices
from .token_cache import SPACES, plain_test_dataset

CALIBRATION_FRAMES = 8  # of six images: ranges of activations settle after a few dozen


def load_encoder(cfg: Config, checkpoint: str | Path, device: str = 'cpu', space: str = 'tokens') -> BaseModel:
    """The part of a trained model that makes scene tokens, in evaluation mode.

    The language model is left out, as it is large, and tokens do not depend on it: the width that the projector has
    from it is read off the checkpoint. In the space ``queries`` the projector is left out too.

    Args:
        cfg: Config of a model that reads images, with ``test_dataloader``; left as it is.
        checkpoint: File written by training.
        device: ``cpu`` or ``cuda:0``.
        space: ``queries`` or ``tokens``.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        ValueError: If the config's model reads no images, or the checkpoint lacks weights of it.
    """
    cfg = copy.deepcopy(cfg)
    model = cfg.model
    if not hasattr(MODELS.get(model.type), 'decode_queries'):
        raise ValueError(f'Expected the config of a model that reads images, such as SceneQFormer; the one of '
                         f'{cfg.filename} is a {model.type}. Give the config that the encoder was trained with.')
    cfg.test_dataloader.dataset = plain_test_dataset(cfg)
    for part in SPACES[space]:
        model.pop(part, None)
    weights = checkpoint_weights(checkpoint)
    if model.pop('language_model', None) and model.get('projector'):
        _set_width(model.projector, weights)
    encoder = load_model(cfg, str(checkpoint), device)
    require_weights(encoder, checkpoint, DETECTION_PARTS, weights)
    return encoder


def _set_width(projector: dict, weights: Mapping[str, torch.Tensor]) -> None:
    """Give a projector the width that it was trained with; one without weights has none of its own."""
    outputs = [value.shape[0] for name, value in weights.items() if name.startswith('projector.') and value.dim() > 1]
    if outputs:
        projector.setdefault('out_channels', outputs[-1])


def build_split(cfg: Config, split: str) -> BaseDataset:
    """The frames of a split with the test pipeline: no random transforms, no frame left out.

    Nothing is scored on them, so that an info file of training frames may repeat some.

    Args:
        cfg: With ``train_dataloader`` and ``test_dataloader``.
        split: ``train``, or ``val``: what ``tools/test.py`` tests on.

    Raises:
        ValueError: If a split is several data sets, as in a ``ConcatDataset``.
    """
    dataset = plain_test_dataset(cfg)
    if split == 'train':
        train = innermost_dataset(cfg.train_dataloader.dataset)
        dataset = dict(train, pipeline=dataset['pipeline'], test_mode=True)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmdet3d')):
        kind = DATASETS.get(dataset['type']) if isinstance(dataset['type'], str) else dataset['type']
        if split == 'train' and isinstance(kind, type) and issubclass(kind, NuScenesSceneDataset):
            dataset['each_sample_once'] = False
        return DATASETS.build(dataset)


def calibration_frames(cfg: Config, num: int = CALIBRATION_FRAMES) -> Iterator[dict]:
    """Training frames with the test pipeline, evenly spread: on them INT8 is calibrated where no others are given.

    Raises:
        ValueError: If they cannot be read.
    """
    try:
        dataset = build_split(cfg, 'train')
        indices = spread_indices(len(dataset), num)
    except (FileNotFoundError, ValueError) as error:
        raise ValueError("precision='int8' is calibrated on training frames of the config, which cannot be read "
                         f'({error}). Give frames: SceneTokenizer(..., calibration=[(images, cameras), ...]).'
                         ) from error
    return (dataset[index] for index in indices)


def listing_file(dataset: BaseDataset) -> str:
    """The file that lists a data set's frames: its info file, or its questions."""
    return dataset.ann_file or dataset.questions['path']


@torch.no_grad()  # not inference_mode: others train on these tokens
def compute_tokens(model: BaseModel, batch: Mapping, space: str = 'tokens') -> torch.Tensor:
    """Scene tokens of some frames.

    Args:
        model: As :func:`load_encoder` gives it, for the same space.
        batch: Collated frames of a dataset with its test pipeline (``mmengine.dataset.pseudo_collate``).
        space: ``queries``: what the projector reads; ``tokens``: behind the projector.

    Returns:
        ``(B, Q, C)`` or ``(B, Q, D)`` float32 on the CPU; of the groups that become tokens, where there are groups.

    Raises:
        FloatingPointError: If some are not finite; names the samples.
    """
    batch = model.data_preprocessor(batch, training=False)
    if space == 'tokens':
        tokens = model(**batch, mode='tensor').float().cpu()
    else:
        decoded = model.decode_queries(batch['inputs']['imgs'], [sample.metainfo for sample in batch['data_samples']])
        tokens = model.token_queries(decoded).float().cpu()
    finite = tokens.flatten(1).isfinite().all(1).tolist()
    if not all(finite):
        bad = [str(sample.metainfo.get('sample_token')) for sample, good in zip(batch['data_samples'], finite)
               if not good]
        raise FloatingPointError(f'The scene tokens of sample {", ".join(bad)} are not finite. If they are those of '
                                 'one sample, look at its images and calibration; if of all, the checkpoint holds '
                                 'such numbers, or float16 overflowed.')
    return tokens
