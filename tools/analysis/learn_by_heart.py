"""Can the model learn by heart? Train the tiny config on 4 consecutive synthetic frames and score those frames.

    python tools/analysis/learn_by_heart.py

A model that cannot reproduce what it saw a thousand times has a fault in its data, its losses or its decoding. The
score is compared with the metric's ceiling: what the true boxes themselves score on these frames, where classes that
are absent count as 0. Exit status 1 below ``--wanted`` of the ceiling.
"""
from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch
from mmdet3d.registry import DATASETS, METRICS
from mmengine.config import Config
from mmengine.runner import Runner

from scene_qformer.engine import bfloat16_is_fast
from scene_qformer.evaluation.metric_ceiling import score_ground_truth

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = REPOSITORY / 'configs/scene_qformer/scene-qformer_tiny_synthetic.py'
NUM_FRAMES = 4


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--steps', type=int, default=1000, help='training steps of all 4 frames')
    parser.add_argument('--wanted', type=float, default=0.8, help='share of the ceiling below which this fails')
    parser.add_argument('--data', type=Path, default=Path('data/synthetic_four_frames'), help='written if absent')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/learn_by_heart'))
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


def write_frames(root: Path) -> None:
    """One scene of 4 frames in mini_val (and one in mini_train, which nobody reads)."""
    if (root / 'nuscenes_infos_val.pkl').is_file():  # written last
        return
    for script, arguments in (
        ('create_synthetic_nuscenes.py', ['--out', str(root), '--scenes', '2', '--samples-per-scene',
                                          str(NUM_FRAMES), '--overwrite']),
        ('create_data.py', ['--root', str(root), '--version', 'v1.0-mini', '--overwrite']),
    ):
        subprocess.run([sys.executable, str(REPOSITORY / 'tools' / script), *arguments], check=True)


def by_heart(cfg: Config, root: Path, steps: int) -> Config:
    """Train and test on the same frames, without augmentation."""
    train, val = cfg.train_dataloader, cfg.val_dataloader
    for loader in (train, val, cfg.test_dataloader):
        loader.dataset.data_root = str(root)
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        evaluator.data_root, evaluator.ann_file = str(root), str(root / val.dataset.ann_file)
    train.dataset.ann_file = val.dataset.ann_file
    train.dataset.pipeline = [step for step in train.dataset.pipeline if not step.type.startswith('Random')]
    train.batch_size = NUM_FRAMES
    # mmengine's loop would wait 2 s at the end of every epoch, and an epoch is one step
    train.sampler = dict(type='InfiniteSampler', shuffle=True)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=steps, val_interval=steps)
    cfg.param_scheduler = [
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
        dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=steps, T_max=steps, eta_min=1e-6),
    ]
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=steps)
    cfg.log_processor.by_epoch = False
    return cfg


def mean_ap(scores: dict) -> float:
    """The mAP among a metric's scores, whose names have a prefix."""
    return next(value for name, value in scores.items() if name.endswith('/mAP'))


def main() -> None:
    args = parse_args()
    write_frames(args.data)
    cfg = by_heart(Config.fromfile(CONFIG), args.data, args.steps)
    cfg.work_dir, cfg.randomness = str(args.work_dir), dict(seed=args.seed)
    if bfloat16_is_fast() and not torch.cuda.is_available():
        cfg.optim_wrapper.type = 'BFloat16OptimWrapper'
    runner = Runner.from_cfg(cfg)
    runner.train()
    scores = runner.val_loop.run()
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    if len(dataset) != NUM_FRAMES:
        sys.exit(f'{args.data} holds {len(dataset)} frames, not {NUM_FRAMES}: remove it, or give another --data.')
    ceiling = mean_ap(score_ground_truth(dataset, METRICS.build(cfg.val_evaluator)))
    reached = mean_ap(scores)
    result = dict(frames=len(dataset), steps=args.steps, seed=args.seed, mAP=round(reached, 4),
                  ceiling=round(ceiling, 4), share=round(reached / ceiling, 4))
    (args.work_dir / 'result.json').write_text(json.dumps(result, indent=1) + '\n')
    print(json.dumps(result))
    if reached < args.wanted * ceiling:
        sys.exit(f'Learned only {reached / ceiling:.2f} of the ceiling; {args.wanted} was wanted.')


if __name__ == '__main__':
    main()
