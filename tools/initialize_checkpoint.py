"""Write a checkpoint of freshly initialised weights: the untrained model that a trained one is compared with.

    python tools/initialize_checkpoint.py CONFIG --out untrained.pth
"""
from __future__ import annotations

import argparse
from pathlib import Path

from mmdet3d.registry import DATASETS, MODELS
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import save_checkpoint, set_random_seed

from scene_qformer.engine.command_line import load_config, make_parser


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, required=True, help='the file to write')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = load_config(args)
    init_default_scope(cfg.default_scope)
    set_random_seed(cfg.get('randomness', {}).get('seed') or 0)
    MMLogger.get_instance('mmengine', log_level='WARNING')  # else one line for each parameter
    model = MODELS.build(cfg.model)
    model.init_weights()
    dataset = DATASETS.build({**cfg.test_dataloader.dataset, 'lazy_init': True})  # its names alone, no files
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dataset.metainfo)), str(args.out))
    print(f'written: {args.out}, {sum(weight.numel() for weight in model.parameters()) / 1e6:.1f} M parameters')


if __name__ == '__main__':
    main()
