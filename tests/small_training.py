"""A training of a few numbers through mmengine's runner, in a moment: for tests of what runs around it."""
from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from scene_qformer.datasets.seeded_samples import SeededSamples

_names = itertools.count()


class Numbers:
    """Eleven samples, each with noise from its own random numbers."""

    def __init__(self, size: int = 11) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, idx: int) -> dict:
        return dict(index=idx, value=torch.full((3, ), float(idx)) + torch.rand(3) + float(np.random.rand()))


class SeededNumbers(SeededSamples, Numbers):
    """The same, as this package's datasets are."""


class Regression(BaseModel):
    """A linear layer behind dropout, which is to give the index."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.layer = nn.Dropout(0.5), nn.Linear(3, 1)

    def forward(self, index, value, mode='tensor'):
        out = self.layer(self.drop(torch.stack(list(value))))[:, 0]
        return dict(loss=(out - torch.tensor([float(i) for i in index])).square().mean()) if mode == 'loss' else [out]


class Score(BaseMetric):
    """A score that a test chooses, validation by validation."""

    default_prefix = 'test'
    scores: list[float] = []

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(score=self.scores.pop(0))


class Note(Hook):
    """Notes samples and loss of each step, and the number of validations; stops where a test wants."""

    priority = 'LOW'

    def __init__(self, stop_at: int | None = None) -> None:
        self.steps: dict[int, tuple[list[int], str]] = {}
        self.batches: list[int] = []
        self.validations: list[int] = []
        self.stop_at = stop_at

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.steps[runner.iter + 1] = (list(map(int, data_batch['index'])), outputs['loss'].item().hex())
        self.batches.append(batch_idx)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.stop_at:
            raise KeyboardInterrupt

    def before_val(self, runner):
        self.validations.append(runner.epoch)


def make_runner(work_dir: Path, note: Note | None = None, checkpoint: dict | None = None, batch_size: int = 2,
                sampler: str = 'ResumableSampler', loop: str = 'ResumableEpochTrainLoop', workers: int = 0,
                validate: bool = False, wrapper: dict | None = None, length: dict | None = None,
                kind: type = Runner, seed: int | None = 7, joint: bool = False, **options) -> Any:
    """A runner of three epochs of eleven samples, six steps each, with a checkpoint every ``checkpoint['interval']``.

    Args:
        work_dir: Of the training.
        note: The hook that notes the steps.
        checkpoint: Of the hook that writes checkpoints.
        batch_size: Samples a step.
        sampler, loop: Their types.
        workers: That load samples.
        validate: After each epoch; :class:`Score` says with what result.
        wrapper: Of the optimizer.
        length: Of the training, as the loop wants it.
        kind: Which of mmengine's runners.
        seed: Of the training; None for another one each time.
        joint: Deal batches out by ``JointBatchSampler``.
        **options: Of the runner.
    """
    torch.manual_seed(5)
    dataset = SeededNumbers()
    validation = dict(
        val_dataloader=dict(dataset=dataset, batch_size=4, num_workers=0, sampler=dict(type='DefaultSampler')),
        val_cfg=dict(), val_evaluator=Evaluator(Score())) if validate else {}
    return kind(
        model=Regression(), work_dir=str(work_dir),
        train_dataloader=dict(dataset=dataset, batch_size=batch_size, num_workers=workers,
                              sampler=dict(type=sampler, shuffle=True),
                              **(dict(batch_sampler=dict(type='JointBatchSampler')) if joint else {})),
        train_cfg=dict(type=loop, **(length or dict(max_epochs=3))),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.1), **(wrapper or {})),
        param_scheduler=dict(type='LinearLR', by_epoch=False, end=9),
        default_hooks=dict(checkpoint=dict(type='DurableCheckpointHook', **(checkpoint or {})),
                           exact_resume=dict(type='ExactResumeHook')),
        custom_hooks=[note or Note()], randomness=dict(seed=seed), default_scope='mmdet3d', log_level='WARNING',
        experiment_name=f'small_training_{next(_names)}', **validation, **options)


def train_until(work_dir: Path, step: int, **options) -> Note:
    """Train until before a step (from 0), as if it was killed there."""
    note = Note(stop_at=step)
    try:
        make_runner(work_dir, note, **options).train()
    except KeyboardInterrupt:
        return note
    raise AssertionError(f'it ended before step {step}')


def train_on(work_dir: Path, **options) -> Note:
    """Resume, and train to the end."""
    note = Note()
    make_runner(work_dir, note, resume=True, **options).train()
    return note
