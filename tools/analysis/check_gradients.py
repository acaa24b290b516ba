"""Gradient norms of one real batch, part by part, and which parameters get none.

    python tools/analysis/check_gradients.py CONFIG [--checkpoint FILE] [--depth 3] [--all] [--out gradients.png]

Flags: 'none', no loss reached the parameter; 'zero', one did, with nothing, as behind a layer whose weights start at
zero; 'not finite'; 'frozen', on purpose. With --strict, exit status 1 if an unfrozen parameter got none.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import mmcv
import torch
from mmdet3d.registry import MODELS
from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, load_checkpoint, set_random_seed

from scene_qformer.engine.command_line import config_file
from scene_qformer.evaluation.gradients import NONE, by_part, gradient_norms, to_markdown
from scene_qformer.visualization import draw_gradient_norms


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=config_file, help='config file')
    parser.add_argument('--checkpoint', help='weights; freshly initialised by default')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override entries: xxx.yyy=value')
    parser.add_argument('--depth', type=int, default=1, help='components of a name that make a part: with 3, layers')
    parser.add_argument('--all', action='store_true', help='list every parameter too')
    parser.add_argument('--strict', action='store_true', help='exit status 1 if an unfrozen parameter gets none')
    parser.add_argument('--allow', nargs='+', default=[], metavar='NAME',
                        help="beginnings of names that may get none, e.g. 'projector.', which detection does not reach")
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--out', type=Path, help='picture of the norms')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    init_default_scope(cfg.default_scope)
    MMLogger.get_current_instance().setLevel('WARNING')  # else lines for each parameter that is initialised
    seed = cfg.get('randomness', {}).get('seed') or 0
    set_random_seed(seed)
    model = MODELS.build(cfg.model)
    if args.checkpoint:
        load_checkpoint(model, args.checkpoint, map_location='cpu')
    else:
        model.init_weights()
    model.to(args.device).train()

    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)  # for one batch
    batch = next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=seed)))
    loss, losses = model.parse_losses(model(**model.data_preprocessor(batch, training=True), mode='loss'))
    loss.backward()
    print(f'{len(batch["data_samples"])} samples, '
          + ', '.join(f'{name} {value.item():.3g}' for name, value in losses.items()) + '\n')

    norms = gradient_norms(model)
    parts = by_part(norms, args.depth)
    print(to_markdown(parts))
    without = [norm.name for norm in norms if NONE in norm.flags]
    unexpected = [name for name in without if not name.startswith(tuple(args.allow))]
    if args.all:
        print(to_markdown(norms))
    elif without:
        print(f'no gradient: {", ".join(without)}\n')
    if args.out:
        picture = draw_gradient_norms(norms if args.all else parts, Path(args.config).stem)
        mmcv.imwrite(picture[..., ::-1], str(args.out))
        print(f'written: {args.out}')
    if args.strict and unexpected:
        sys.exit(f'{len(unexpected)} parameters that are not frozen got no gradient: {", ".join(unexpected)}. Either a '
                 'loss should reach them, or freeze them, or name them with --allow.')


if __name__ == '__main__':
    main()
