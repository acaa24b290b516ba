"""Train a scene Q-Former: ``tools/train.py CONFIG``, with mmdet3d's flags."""
from __future__ import annotations

import argparse

import torch
from mmengine.config import Config, ConfigDict
from mmengine.runner import FlexibleRunner, Runner

from scene_qformer.engine import bfloat16_is_fast, choose_checkpoint, join_processes, lock_training
from scene_qformer.engine.command_line import load_config, make_parser


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    parser.add_argument('--sync_bn', choices=['none', 'torch', 'mmcv'], default='none', help='synchronise batch norms')
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on from this checkpoint, or, without a path, from the newest whole one in the work directory, if any')
    return parser.parse_args()


def apply_amp(optim_wrapper: ConfigDict) -> None:
    """Mixed precision: bfloat16, without a loss scaler, where it is stated, fast, or there is no GPU; else float16.

    Raises:
        ValueError: If the wrapper is of a type that this does not know.
    """
    kind, dtype = optim_wrapper.type, optim_wrapper.get('dtype')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper', 'BFloat16OptimWrapper'):
        raise ValueError(f"--amp replaces an optim_wrapper of type 'OptimWrapper', not {kind!r}.")
    has_gpu, fast = torch.cuda.is_available(), bfloat16_is_fast()
    if not has_gpu:
        slow = '' if fast else ' It emulates that: without --amp it is about twice as fast.'
        print(f'--amp: there is no GPU, so this trains in bfloat16 on the CPU.{slow}')
    stated = kind == 'BFloat16OptimWrapper' or dtype == 'bfloat16'
    if stated or not has_gpu or (kind == 'OptimWrapper' and fast):
        optim_wrapper.type = 'BFloat16OptimWrapper'
        for name in ('dtype', 'loss_scale', 'use_fsdp'):  # of AmpOptimWrapper
            optim_wrapper.pop(name, None)
    else:
        optim_wrapper.type = 'AmpOptimWrapper'
        optim_wrapper.setdefault('loss_scale', 'dynamic')


def refuse_what_deepspeed_lacks(cfg: Config, sync_bn: str) -> None:
    """Before training, instead of at its first checkpoint.

    Raises:
        ValueError: If batch norms are to be synchronised, or weights to be averaged.
    """
    if (cfg.get('strategy') or {}).get('type') not in ('ZeroStrategy', 'DeepSpeedStrategy'):
        return
    if sync_bn != 'none':
        raise ValueError("--sync_bn: DeepSpeed's strategies do not synchronise batch norms. Leave it out, or train "
                         'with strategies/fsdp.py or without a strategy.')
    if any(hook.get('type') == 'EMAHook' for hook in cfg.get('custom_hooks') or ()):
        raise ValueError('EMAHook keeps averaged weights in the state_dict of a checkpoint, and DeepSpeed writes that '
                         'by itself: take the hook out of custom_hooks, or train without DeepSpeed.')


def apply_flags(cfg: Config, args: argparse.Namespace) -> Config:
    """Apply the flags that only training has."""
    refuse_what_deepspeed_lacks(cfg, args.sync_bn)
    if args.amp:
        apply_amp(cfg.optim_wrapper)
    if args.sync_bn != 'none':
        (cfg.get('strategy') or cfg).sync_bn = args.sync_bn  # each of mmengine's runners looks elsewhere
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise ValueError('--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config: the batch '
                             'size for which its learning rate is meant.')
        cfg.auto_scale_lr.enable = True
    if args.resume:
        cfg.resume = True
        cfg.begin_from = cfg.get('load_from')  # where there is nothing to resume yet
        cfg.load_from = None if args.resume == 'auto' else args.resume
    return cfg


def main() -> None:
    args = parse_args()
    cfg = apply_flags(load_config(args, several_processes=True), args)
    join_processes(cfg)
    lock_training([cfg.work_dir])  # before anything is chosen, renamed or written there
    choose_checkpoint(cfg)
    runner = FlexibleRunner if cfg.get('strategy') else Runner  # sharded models are mmengine's newer runner's
    runner.from_cfg(cfg).train()


if __name__ == '__main__':
    main()
