"""A comparison of variants at one budget: its base, what decides the result of a run, the rows that come of it."""
from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from mmdet3d.registry import DATASETS
from mmengine.config import Config

from .engine import bfloat16_is_fast
from .evaluation.kept_times import time_or_recall
from .evaluation.variant_table import VariantResult
from .experiment import epoch_options
from .fresh_model import build_fresh_model
from .random_batch import random_batch_like
from .training_runs import TrainingRun, data_digest
from .variants import BASE_NAME, MOVING_CAMERAS, base_options, with_options


def budgeted_base(cfg: Config, epochs: int) -> Config:
    """The base that is derived from a config, with a budget; see :func:`with_budget`."""
    return with_budget(with_options(cfg, base_options(cfg)), epochs)


def with_budget(cfg: Config, epochs: int) -> Config:
    """A copy that is scored and saved once, after ``epochs``, at which its schedule ends."""
    schedule = dict(option.split('=') for option in epoch_options(cfg, epochs))
    cfg = with_options(cfg, {key: int(value) for key, value in schedule.items()})
    cfg.train_cfg.val_interval = epochs
    cfg.default_hooks.checkpoint = dict(type='DurableCheckpointHook', interval=epochs, save_optimizer=False)
    return cfg


def pretraining_of(cfg: Config, epochs: int) -> Config:
    """The image branch of a config, to be trained alone for ``epochs``: one start for all variants.

    Args:
        cfg: The config that the base is derived from; its augmentation stays. Of ``ProposalQueries``, the settings of
            the dense head are taken.
        epochs: Over the training set.
    """
    head, queries = cfg.model.bbox_head, cfg.model.scene_queries
    pretraining = budgeted_base(cfg, epochs)
    pretraining.train_dataloader = copy.deepcopy(cfg.train_dataloader)
    pretraining.train_cfg.pop('val_interval')
    pretraining.merge_from_dict(dict(
        model=dict(_delete_=True, type='ImageCenterPretraining', backbone=cfg.model.backbone,
                   neck=cfg.model.get('neck'), data_preprocessor=cfg.model.data_preprocessor,
                   center_head={'num_classes': head.num_classes, 'embed_dims': cfg.model.decoder.embed_dims,
                                **queries.get('center_head', {})}),
        val_cfg=None, val_dataloader=None, val_evaluator=None,
        test_cfg=None, test_dataloader=None, test_evaluator=None))
    return pretraining


def start_from(cfg: Config, image_branch: TrainingRun) -> Config:
    """A copy that starts from a finished pretraining: its backbone, from now on frozen, and its neck."""
    result = image_branch.result()
    if result is None:
        raise ValueError(f'The training in {image_branch.folder} is not finished; train it first.')
    checkpoint = image_branch.folder / result['checkpoint']
    return with_options(cfg, {'load_from': str(checkpoint), 'model.frozen_parts': ['backbone']})


def measure(configs: Mapping[str, Config], rounds: int, note: Path) -> tuple[dict[str, int], dict[str, list[float]]]:
    """Parameters, and seconds of forward passes in float32 at batch 1 (none for 0 rounds); freshly initialised.

    Args:
        configs: By name of the variant; cameras, image size and classes are the first one's.
        rounds: Timed passes of each.
        note: File in which times are kept.
    """
    torch.manual_seed(0)
    models = {name: build_fresh_model(cfg.model) for name, cfg in configs.items()}
    parameters = {name: sum(value.numel() for value in model.parameters()) for name, model in models.items()}
    if not rounds:
        return parameters, {}
    batch = random_batch_like(next(iter(configs.values())))
    return parameters, time_or_recall(models, configs, batch, rounds, note)


def plan_runs(configs: Mapping[str, Config], seeds: Sequence[int], root: Path) -> list[TrainingRun]:
    """A run of every variant for each seed, seed by seed.

    Args:
        configs: By name of the variant, the base among them; the data are the base's.
        seeds: Of initialisation and order.
        root: Of the folders of all runs.
    """
    digest = _data_of(configs[BASE_NAME])
    return [plan_run(_label(name), seed, cfg, digest, root) for seed in seeds for name, cfg in configs.items()]


def plan_image_branch(cfg: Config, epochs: int, root: Path) -> TrainingRun:
    """The run that all variants start from, under whatever seed; see :func:`pretraining_of`."""
    return replace(plan_run('image branch', 0, pretraining_of(cfg, epochs), _data_of(cfg), root), scored=False)


def _data_of(cfg: Config) -> str:
    dataset = cfg.train_dataloader.dataset
    return data_digest(dataset.data_root, [dataset.ann_file, cfg.val_dataloader.dataset.ann_file])


def plan_run(name: str, seed: int, cfg: Config, data: str, root: Path,
             after: tuple[TrainingRun, ...] = (), as_text: Callable[[Config], str] | None = None) -> TrainingRun:
    """A run of a config under a seed.

    Args:
        name: For people.
        seed: Of initialisation and order.
        cfg: With all but the seed.
        data: Digest of what it learns and is tested on.
        root: Of the folders of all runs.
        after: Runs that it comes after.
        as_text: How the config stands in the settings; by default as mmengine writes it.
    """
    seeded = with_options(cfg, {'randomness': dict(seed=seed)})
    # all that decides the result; not where the data lies, nor the runs
    text = as_text(seeded) if as_text else seeded.pretty_text
    text = text.replace(str(cfg.train_dataloader.dataset.data_root), '<data>')
    text = text.replace(str(root), '<runs>')
    settings = dict(config=text, seed=str(seed), data=data, precision=precision_of(cfg))
    return TrainingRun(name, seed, seeded, settings, root, after=after)


def row(name: str, axis: str, variant: str, change: str, runs: Sequence[TrainingRun], parameters: Mapping[str, int],
        times: Mapping[str, Sequence[float]]) -> VariantResult:
    """What came of one variant.

    Args:
        name: The key of ``parameters`` and ``times``, and of the configs that the runs were planned from.
        axis: Which part was changed.
        variant: Its name on that axis.
        change: The config entries that were replaced, as typed.
        runs: All runs.
        parameters: Of all variants, as ``times``: from :func:`measure`.
        times: Seconds.
    """
    finished = {run.seed: result for run in runs if run.name == _label(name) and (result := run.result())}
    scores = {seed: {metric: result[metric] for metric in ('mAP', 'NDS')} for seed, result in finished.items()}
    if name not in times:
        return VariantResult(axis, variant, change, parameters[name], scores)
    low, middle, high = np.percentile(1e3 * np.array(times[name]), (25, 50, 75)).tolist()
    return VariantResult(axis, variant, change, parameters[name], scores, middle, (low, high))


def facts_of(source: str, cfg: Config, base: Config, base_result: VariantResult, rounds: int,
             image_epochs: int) -> dict[str, str]:
    """What holds for all rows.

    Args:
        source: Name of the config that the base is derived from.
        cfg: That config.
        base: The base, with the budget.
        base_result: Its row.
        rounds: Timed passes; 0 if there were none.
        image_epochs: Of the image branch alone, before; 0 if there were none.
    """
    frames = len(DATASETS.build(base.train_dataloader.dataset))
    epochs, batch_size = base.train_cfg.max_epochs, base.train_dataloader.batch_size
    left_out = [step.type for step in cfg.train_dataloader.dataset.pipeline if step.type in MOVING_CAMERAS]
    facts = {
        'base': f'{BASE_NAME} of {base.model.scene_queries.num_queries} queries, all else as in `{source}`, which has '
                f'denoising {"on" if base.model.get("denoising") else "off"}',
        'left out of training, for all rows': ', '.join(left_out) or 'nothing',
        'budget of every run': f'{epochs} epochs of {frames} frames, batch {batch_size}: '
                               f'{epochs * -(-frames // batch_size)} steps',
        'start of every run': f'backbone (frozen) and neck of one training of {image_epochs} epochs under '
                              f'`ImageCenterPretraining`, all else from nothing' if image_epochs else 'from nothing',
        'precision of training': precision_of(base),
    }
    values = [scores['mAP'] for scores in base_result.scores.values()]
    if len(values) > 1:
        facts['mAP of the base from seed to seed'] = f'{min(values):.3f} to {max(values):.3f}'
    if rounds:
        facts['ms a frame'] = (f'median of {rounds} forward passes to boxes, batch 1, float32, freshly initialised, '
                               f'number of threads {torch.get_num_threads()}, all variants in turn')
    return facts


def precision_of(cfg: Config) -> str:
    """As ``--amp`` makes it where that is fast."""
    return 'bfloat16' if bfloat16_is_fast() or cfg.optim_wrapper.type == 'BFloat16OptimWrapper' else 'float32'


def _label(name: str) -> str:
    return 'base' if name == BASE_NAME else name
