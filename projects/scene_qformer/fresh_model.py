"""A model as it starts training from nothing: for measuring, without the files that a config may want."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmdet3d.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.model import BaseModel


def build_fresh_model(model_cfg: Mapping[str, Any]) -> BaseModel:
    """Build and initialise a model; no weights are read from a file.

    Where queries start decides what attention that projects costs: not initialised, most reference points would lie in
    the corners of the range, and every camera would see other numbers of them than in training.

    Args:
        model_cfg: The ``model`` of a config; it stays as it is.
    """
    model = MODELS.build(without_checkpoints(ConfigDict(model_cfg)))
    model.init_weights()
    return model


def without_checkpoints(cfg: Any) -> Any:
    """A copy without any ``init_cfg`` that reads a file, and without ``pretrained`` (mmdet's older name for one)."""
    if isinstance(cfg, Mapping):
        kept = {key: without_checkpoints(value) for key, value in cfg.items()}
        if kept.get('pretrained'):
            kept['pretrained'] = None
        if 'init_cfg' in kept:
            kept['init_cfg'] = _without_files(kept['init_cfg'])
        return ConfigDict(kept)
    if isinstance(cfg, (list, tuple)):
        return type(cfg)(without_checkpoints(value) for value in cfg)
    return cfg


def _without_files(init_cfg: Any) -> Any:
    if isinstance(init_cfg, Mapping):
        return None if 'checkpoint' in init_cfg else init_cfg
    if isinstance(init_cfg, (list, tuple)):
        return [one for one in init_cfg if 'checkpoint' not in one] or None
    return init_cfg
