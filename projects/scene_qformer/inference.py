"""A trained model on frames of a dataset; their scene tokens are made by ``SceneTokenizer``."""
from __future__ import annotations

import warnings
from collections.abc import Mapping

import mmdet3d.apis
import numpy as np
import torch
from mmdet3d.registry import DATASETS
from mmdet3d.structures import Det3DDataSample
from mmengine.config import Config
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData


def load_model(cfg: Config, checkpoint: str, device: str = 'cpu') -> BaseModel:
    """The model of a config with the weights of a checkpoint, in evaluation mode.

    Args:
        cfg: Config with ``model`` and ``test_dataloader``; left as it is.
        checkpoint: File written by training.
        device: ``cpu`` or ``cuda:0``.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', "Don't suggest using CPU device")  # this project's models run there too
        return mmdet3d.apis.init_model(cfg.copy(), checkpoint, device)


def build_test_dataset(cfg: Config) -> BaseDataset:
    """The dataset that ``tools/test.py`` tests on."""
    init_default_scope(cfg.get('default_scope', 'mmdet3d'))
    return DATASETS.build(cfg.test_dataloader.dataset)


def spread_indices(total: int, num: int) -> list[int]:
    """``num`` indices evenly spread over ``range(total)``, first and last included; all of them if ``num`` is larger.

    Raises:
        ValueError: ``total`` or ``num`` is not positive.
    """
    if total < 1 or num < 1:
        raise ValueError('Expected at least one frame in the dataset and one to choose (--num 1 or more), got '
                         f'{total} and {num}.')
    return [0] if num == 1 else sorted({round(index) for index in np.linspace(0, total - 1, min(num, total))})


@torch.inference_mode()
def predict_frame(model: BaseModel, inputs: Mapping) -> Det3DDataSample:
    """Detect objects in one frame.

    Args:
        model: A detector.
        inputs: ``dataset[index]`` of a dataset with its test pipeline.

    Returns:
        The frame's data sample with ``pred_instances_3d`` (``bboxes_3d`` in the LiDAR frame, ``scores_3d``,
        ``labels_3d``) on the CPU.
    """
    return model.test_step(pseudo_collate([inputs]))[0].cpu()


def keep_confident(instances: InstanceData, threshold: float) -> InstanceData:
    """The instances whose ``scores_3d`` reach a threshold."""
    return instances[instances.scores_3d >= threshold]
