"""Can the model learn by heart? Train a config on a few consecutive frames and score those frames.

    python tools/analysis/learn_by_heart.py                    # the embedded config on 4 synthetic frames
    NUSCENES_ROOT=/data/sets/nuscenes python tools/analysis/learn_by_heart.py \\
        configs/scene_qformer/scene-qformer_r18_real-scene.py --cut --frames 8 --wanted 0.6

A model that cannot reproduce what it saw a thousand times has a fault in its data, its losses or its decoding. The
score is compared with the metric's ceiling: what the true boxes themselves score on these frames, where classes that
are absent count as 0. Exit status 1 below ``--wanted`` of the ceiling. Pictures of the frames with predicted and true
boxes go to ``frames/`` in the work directory.
"""
from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import mmcv
import numpy as np
import torch
from mmdet3d.registry import DATASETS, METRICS
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.model import BaseModel
from mmengine.runner import Runner

from scene_qformer.datasets.nuscenes_excerpt import cut_frames
from scene_qformer.engine import bfloat16_is_fast
from scene_qformer.engine.command_line import config_file
from scene_qformer.evaluation.metric_ceiling import score_ground_truth
from scene_qformer.experiment import train_by_heart
from scene_qformer.inference import keep_confident, predict_frame
from scene_qformer.visualization import draw_frame, read_frame

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = REPOSITORY / 'configs/scene_qformer/scene-qformer_tiny_synthetic.py'
INFO_FILE = 'nuscenes_infos_val.pkl'
NOTE = 'learn_by_heart.json'  # beside the data, written last: which frames they are


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=config_file, nargs='?', default=str(CONFIG), help='default: the embedded one')
    parser.add_argument('--frames', type=int, default=4, help='number of frames')
    parser.add_argument('--cut', action='store_true',
                        help="cut the frames out of the config's data set instead of rendering synthetic ones")
    parser.add_argument('--scene', help='with --cut: name of a scene of the validation split (the one that is scored); '
                        'default its first')
    parser.add_argument('--first-frame', type=int, default=0, help='with --cut: index in the scene of the first frame')
    parser.add_argument('--steps', type=int, default=1000, help='training steps')
    parser.add_argument('--batch-size', type=int, help='frames a step; default 4, or fewer if there are fewer')
    parser.add_argument('--wanted', type=float, default=0.8, help='share of the ceiling below which this fails')
    parser.add_argument('--data', type=Path, help='folder of the frames: written if absent, refused if it holds '
                        'others; default in the work directory')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/learn_by_heart'))
    parser.add_argument('--score-thr', type=float, default=0.3, help='predictions with a lower score are not drawn')
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


def wanted_frames(cfg: Config, args: argparse.Namespace) -> dict:
    """Which frames ``--data`` is to hold."""
    if not args.cut:
        return dict(root='synthetic', frames=args.frames)
    return dict(root=str(Path(cfg.val_dataloader.dataset.data_root).resolve()), scene=args.scene,
                first_frame=args.first_frame, frames=args.frames)


def write_frames(cfg: Config, args: argparse.Namespace) -> None:
    """The frames as a nuScenes root of their own, whose validation split they are; what is there must be the same.

    Raises:
        ValueError: If the folder holds other frames; and as :func:`cut_frames`.
    """
    note, wanted = args.data / NOTE, wanted_frames(cfg, args)
    if note.is_file():
        there = json.loads(note.read_text())
        if there != wanted:
            raise ValueError(f'{args.data} holds other frames than are wanted now.\n  there:  {there}\n  wanted: '
                             f'{wanted}\nRemove that folder, or give another --data.')
        return
    if args.cut:
        version = cut_frames(cfg.val_dataloader.dataset.data_root, args.data, args.frames, args.scene,
                             args.first_frame)
    else:  # two scenes, of which mini_val has one; nobody reads the other
        version = 'v1.0-mini'
        run_tool('create_synthetic_nuscenes.py', '--out', str(args.data), '--scenes', '2', '--samples-per-scene',
                 str(args.frames), '--overwrite')
    run_tool('create_data.py', '--root', str(args.data), '--version', version, '--overwrite')
    note.write_text(json.dumps(wanted, indent=1) + '\n')


def run_tool(script: str, *arguments: str) -> None:
    subprocess.run([sys.executable, str(REPOSITORY / 'tools' / script), *arguments], check=True)


def by_heart(cfg: Config, root: Path, steps: int, batch_size: int) -> Config:
    """Train and test on the same frames, without augmentation."""
    root = root.absolute()
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.data_root, loader.dataset.ann_file = str(root), INFO_FILE
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        evaluator.data_root, evaluator.ann_file = str(root), str(root / INFO_FILE)
    train_by_heart(cfg, steps, batch_size)
    return cfg


def draw_frames(model: BaseModel, dataset: BaseDataset, folder: Path, score_thr: float) -> None:
    """Pictures of all frames with predicted and true boxes."""
    pts_prefix = dataset.data_prefix.get('pts', '')
    for index in range(len(dataset)):
        frame = read_frame(dataset.get_data_info(index), pts_prefix)
        prediction = keep_confident(predict_frame(model, dataset[index]).pred_instances_3d, score_thr)
        picture = draw_frame(frame.images, frame.lidar2img, prediction, frame.gt_instances_3d,
                             dataset.metainfo['classes'], frame.points,
                             title=f'frame {index + 1} of {len(dataset)}, learned by heart, scores from {score_thr:g}')
        mmcv.imwrite(picture[..., ::-1], str(folder / f'{index:04d}.jpg'))


def mean_ap(scores: dict) -> float:
    """The mAP among a metric's scores, whose names have a prefix."""
    return next(value for name, value in scores.items() if name.endswith('/mAP'))


def main() -> None:
    args = parse_args()
    args.data = args.data or args.work_dir / 'data'
    cfg = Config.fromfile(args.config)
    try:
        write_frames(cfg, args)
    except (OSError, ValueError) as error:
        sys.exit(f'learn_by_heart.py: {error}')
    cfg = by_heart(cfg, args.data, args.steps, args.batch_size or min(4, args.frames))
    cfg.work_dir, cfg.randomness = str(args.work_dir), dict(seed=args.seed)
    if bfloat16_is_fast() and not torch.cuda.is_available():
        cfg.optim_wrapper.type = 'BFloat16OptimWrapper'
    runner = Runner.from_cfg(cfg)
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    runner.train()
    seconds, _ = runner.message_hub.get_scalar('train/time').data  # of every step
    reached = mean_ap(runner.val_loop.run())
    ceiling = mean_ap(score_ground_truth(dataset, METRICS.build(cfg.val_evaluator)))
    result = dict(config=Path(args.config).stem, frames=len(dataset), steps=args.steps,
                  batch_size=cfg.train_dataloader.batch_size, seed=args.seed, mAP=round(reached, 4),
                  ceiling=round(ceiling, 4), share=round(reached / ceiling, 4),
                  minutes=round(float(np.sum(seconds)) / 60, 1),
                  seconds_a_sample=round(float(np.median(seconds)) / cfg.train_dataloader.batch_size, 3),
                  threads=torch.get_num_threads())
    (args.work_dir / 'result.json').write_text(json.dumps(result, indent=1) + '\n')
    draw_frames(runner.model, dataset, args.work_dir / 'frames', args.score_thr)
    print(json.dumps(result))
    if reached < args.wanted * ceiling:
        sys.exit(f'Learned only {reached / ceiling:.2f} of the ceiling; {args.wanted} was wanted.')


if __name__ == '__main__':
    main()
