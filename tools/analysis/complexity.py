"""What each part of a model costs: parameters, FLOPs, activation memory, time. Needs no data and no weights: they are
freshly initialised, so that queries lie where they start in training.

    python tools/analysis/complexity.py CONFIG [--train] [--batch-size 1] [--expand decoder backbone]
"""
from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from scene_qformer.engine.command_line import config_file
from scene_qformer.evaluation.complexity import measure_complexity, to_dicts, to_markdown
from scene_qformer.fresh_model import build_fresh_model
from scene_qformer.random_batch import random_batch_like


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=config_file, help='config file')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override entries: xxx.yyy=value')
    parser.add_argument('--batch-size', type=int, default=1, help='samples, of all cameras each')
    parser.add_argument('--image-size', type=int, nargs=2, metavar=('WIDTH', 'HEIGHT'), help="if not the config's")
    parser.add_argument('--train', action='store_true', help='also measure training steps, forward and backward')
    parser.add_argument('--expand', nargs='*', default=['decoder'], help='parts whose own parts are listed')
    parser.add_argument('--runs', type=int, default=5, help='timed runs, of which the median is taken')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--json', type=Path, help='file for the numbers, unrounded')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    init_default_scope(cfg.default_scope)
    MMLogger.get_current_instance().setLevel('WARNING')  # else lines for each parameter that is initialised
    model = build_fresh_model(cfg.model).to(args.device)
    batch = random_batch_like(cfg, args.batch_size, args.image_size)
    images = batch['inputs']['img']
    costs = measure_complexity(model, batch, args.train, args.expand, args.runs)
    num_cameras, _, height, width = images[0].shape
    print(f'{args.config}: {args.batch_size} x {num_cameras} images of {width} x {height}, {args.device}'
          + (f', {torch.get_num_threads()} threads' if args.device == 'cpu' else '') + '\n')
    print(to_markdown(costs))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(to_dicts(costs), indent=1) + '\n')
        print(f'written: {args.json}')


if __name__ == '__main__':
    main()
