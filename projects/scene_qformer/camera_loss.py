"""How a trained detector does when cameras are lost: which are taken away, and the official metric without them."""
from __future__ import annotations

import copy
import itertools
import math
import random
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner

from .dataset_config import innermost_dataset, is_transform
from .engine import TRAINING_PARTS, require_weights


def choose_losses(cam_names: Sequence[str], num_subsets: int, seed: int = 0) -> list[tuple[str, ...]]:
    """Which cameras are lost together: none, then each number from 1 to all but one.

    Args:
        cam_names: The N cameras.
        num_subsets: Of each number, at most; all of them where there are no more.
        seed: Chooses among them. The choice for one number does not depend on the others.

    Returns:
        The lost cameras of each test, fewest first, in the order of ``cam_names``.

    Raises:
        ValueError: If ``num_subsets`` is not positive.
    """
    if num_subsets < 1:
        raise ValueError(f'Expected at least one subset of cameras for each number, got {num_subsets}.')
    losses: list[tuple[str, ...]] = [()]
    for number in range(1, len(cam_names)):
        subsets = list(itertools.combinations(cam_names, number))
        if num_subsets < math.comb(len(cam_names), number):
            chosen = sorted(random.Random(f'{seed}, {number}').sample(range(len(subsets)), num_subsets))
            subsets = [subsets[index] for index in chosen]
        losses += subsets
    return losses


def without_cameras(cfg: Config, lost: Sequence[str]) -> Config:
    """A config that tests without these cameras.

    Args:
        cfg: With ``test_dataloader``; left as it is.
        lost: Names of cameras.

    Raises:
        ValueError: If the test pipeline does not end with ``PackSceneInputs``.
    """
    cfg = copy.deepcopy(cfg)
    dataset = innermost_dataset(cfg.test_dataloader.dataset)
    if not dataset.pipeline or not is_transform(dataset.pipeline[-1], 'PackSceneInputs'):
        raise ValueError('Expected a test pipeline that ends with PackSceneInputs, which writes on the data sample '
                         f'which cameras are missing; it is {[step["type"] for step in dataset.pipeline]}.')
    if lost:
        dataset.pipeline = [*dataset.pipeline[:-1], dict(type='DropCameras', cam_names=list(lost)),
                            dataset.pipeline[-1]]
    return cfg


def camera_names(cfg: Config) -> tuple[str, ...]:
    """The cameras of a config's test set.

    Raises:
        ValueError: If it does not name them.
    """
    dataset = innermost_dataset(cfg.test_dataloader.dataset)
    if not dataset.get('cam_names'):
        raise ValueError('Expected cam_names in the dataset of test_dataloader: the cameras that may be lost.')
    return tuple(dataset.cam_names)


def scores_without(cfg: Config, checkpoint: str | Path, lost: Sequence[str], work_dir: str | Path) -> dict[str, float]:
    """Test a model without some cameras.

    Args:
        cfg: With ``test_dataloader`` and ``test_evaluator``; left as it is.
        checkpoint: File written by training.
        lost: Names of cameras.
        work_dir: For mmengine's logs.

    Returns:
        ``NDS`` and ``mAP`` of the official metric.

    Raises:
        ValueError: If the evaluator gives none of them, or the checkpoint lacks weights.
    """
    cfg = without_cameras(cfg, lost)
    cfg.work_dir, cfg.load_from, cfg.resume, cfg.launcher = str(work_dir), str(checkpoint), False, 'none'
    cfg.experiment_name = f'{Path(work_dir).resolve()}'.replace('/', '_')  # one for each runner of this process
    runner = Runner.from_cfg(cfg)
    require_weights(runner.model, checkpoint, TRAINING_PARTS)
    metrics = {name.split('/')[-1]: value for name, value in runner.test().items()}
    missing = [name for name in ('NDS', 'mAP') if name not in metrics]
    if missing:
        raise ValueError(f'test_evaluator gives no {" and no ".join(missing)}: expected the official nuScenes metric, '
                         f'got {", ".join(metrics) or "nothing"}.')
    return {name: float(metrics[name]) for name in ('NDS', 'mAP')}
