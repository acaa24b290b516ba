"""A training of a few parameters with every kind of part, of which any number can be spoilt."""
from collections.abc import Mapping

import torch
from mmdet3d.structures import Det3DDataSample
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn

from scene_qformer.finite_losses import check_finite_losses


class Frames(torch.utils.data.Dataset):
    """Numbers that depend on the index alone; those of ``bad`` frames are overwritten by ``value``."""

    def __init__(self, bad: Mapping[int, float], number: int = 14) -> None:
        self.bad, self.number = bad, number

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: int) -> dict:
        numbers = torch.linspace(-1, 1, 5) * (index + 1) / 7
        if index in self.bad:
            numbers[2] = self.bad[index]
        return dict(inputs=numbers, data_samples=Det3DDataSample(metainfo=dict(sample_token=f'sample {index}')))


class Parts(BaseModel):
    """``backbone -> norm -> head``; the loss of ``bad_loss`` steps is spoilt."""

    def __init__(self, bad_gradients=(), bad_loss=()) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone, self.norm, self.head = nn.Linear(5, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)
        self.bad_gradients, self.bad_loss, self.step = bad_gradients, bad_loss, 0

    def forward(self, inputs, data_samples, mode='loss'):
        hidden = self.norm(self.backbone(inputs))
        step = self.step
        if step in self.bad_gradients:  # finite forward, not backward: the slope of a root at 0
            hidden = hidden + (self.head.weight.sum() * 0).clamp(min=0).sqrt()
        losses = dict(loss_a=self.head(hidden).square().mean(), loss_b=hidden.abs().mean())
        if step in self.bad_loss:
            losses['loss_b'] = losses['loss_b'] + float('inf')
        check_finite_losses(losses, data_samples)
        return losses


class CountSteps(Hook):
    """Tell the model which step it is."""

    priority = 'HIGHEST'

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        runner.model.step = runner.iter


def train(tmp_path, model, hooks, bad=None, optim_wrapper=None, accumulate=1, clip=None, name='run') -> Runner:
    """Seven steps of two frames, in order."""
    wrapper = optim_wrapper or OptimWrapper(torch.optim.AdamW(model.parameters(), lr=0.01), accumulate, clip)
    runner = Runner(
        model, str(tmp_path), experiment_name=f'{tmp_path.name}-{name}', default_scope='mmdet3d', log_level='WARNING',
        train_dataloader=dict(dataset=Frames(bad or {}), batch_size=2, collate_fn=collate,
                              sampler=dict(type='DefaultSampler', shuffle=False)),
        train_cfg=dict(by_epoch=True, max_epochs=1), optim_wrapper=wrapper, custom_hooks=[CountSteps(), *hooks],
        default_hooks=dict(checkpoint=None, logger=None))
    runner.train()
    return runner


def collate(frames: list) -> dict:
    return dict(inputs=torch.stack([frame['inputs'] for frame in frames]),
                data_samples=[frame['data_samples'] for frame in frames])
