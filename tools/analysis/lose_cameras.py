"""Scores of trained detectors against the number of cameras lost: table, numbers and picture.

    python tools/analysis/lose_cameras.py CONFIG CHECKPOINT [CHECKPOINT ...] --names plain dropout

For each number of lost cameras, from none to all but one, some subsets of the cameras are taken away from all frames of
the config's test set, and the official metric scores what the model finds with the others. All checkpoints are tested
with the same subsets. Started again, the script goes on where it was; results of other settings are moved aside.
"""
from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import mmcv
from mmengine.config import Config, DictAction

from scene_qformer.camera_loss import camera_names, choose_losses, scores_without
from scene_qformer.durable_file import OF_A_TOOL, write_durably
from scene_qformer.engine.command_line import config_file
from scene_qformer.evaluation.camera_loss_table import CameraLoss, to_json, to_markdown
from scene_qformer.experiment import keep_other_results
from scene_qformer.marked_page import write_between
from scene_qformer.visualization.camera_loss_plot import draw_camera_loss

BEGIN, END = '<!-- written by lose_cameras.py -->', '<!-- end -->'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=config_file, help='config with the test set; one for all checkpoints')
    parser.add_argument('checkpoints', nargs='+', type=Path, metavar='CHECKPOINT', help='files written by training')
    parser.add_argument('--names', nargs='+', help='of the models in table and picture; default: of their folders')
    parser.add_argument('--subsets', type=int, default=5, help='sets of cameras for each number, at most')
    parser.add_argument('--seed', type=int, default=0, help='chooses the sets')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override entries: xxx.yyy=value')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/lose_cameras'))
    parser.add_argument('--page', type=Path, help=f'Markdown page to write the table into, between {BEGIN!r} and '
                        f'{END!r}; the picture goes to images/ beside it')
    args = parser.parse_args()
    args.names = args.names or [path.resolve().parent.name for path in args.checkpoints]
    if len(args.names) != len(args.checkpoints) or len(set(args.names)) != len(args.names):
        parser.error(f'expected a different name for each of {len(args.checkpoints)} checkpoints (--names), got '
                     f'{" ".join(args.names)}')
    for path in args.checkpoints:
        if not path.is_file():
            parser.error(f'there is no checkpoint {path}')
    return args


def run_tests(args: argparse.Namespace, cfg: Config, losses: Sequence[tuple[str, ...]]) -> list[CameraLoss]:
    """All tests; those that an earlier call finished are read."""
    results = []
    for name, checkpoint in zip(args.names, args.checkpoints):
        for number, lost in enumerate(losses):
            done = args.work_dir / name / f'{number}.json'
            if not done.is_file():
                scores = scores_without(cfg, checkpoint, lost, args.work_dir / name / 'logs' / str(number))
                write_durably(done, json.dumps(dict(lost=lost, **scores)).encode(), OF_A_TOOL)
            found = json.loads(done.read_text())
            results.append(CameraLoss(name, tuple(found['lost']), found['NDS'], found['mAP']))
            print(f'{name}, without {", ".join(lost) or "nothing"}: NDS {results[-1].NDS:.4f}, mAP '
                  f'{results[-1].mAP:.4f}', flush=True)
    return results


def main() -> None:
    args = parse_args()
    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    losses = choose_losses(camera_names(cfg), args.subsets, args.seed)
    keep_other_results(args.work_dir, dict(
        config=cfg.pretty_text, losses=[list(lost) for lost in losses],
        checkpoints={name: [str(path.resolve()), path.stat().st_size, path.stat().st_mtime]
                     for name, path in zip(args.names, args.checkpoints)}))
    results = run_tests(args, cfg, losses)
    facts = {
        'test set': f'`{Path(args.config).name}`, each frame once a subset',
        'lost cameras': f'at most {args.subsets} subsets of each number, seed {args.seed}, the same for all models; in '
                        'brackets the lowest and the highest score',
        'checkpoints': ', '.join(f'{name}: `{path.parent.name}/{path.name}`'
                                 for name, path in zip(args.names, args.checkpoints)),
    }
    table, picture = to_markdown(results, facts), draw_camera_loss(results, 'Scores without some of the cameras')
    (args.work_dir / 'lost_cameras.md').write_text(table)
    (args.work_dir / 'lost_cameras.json').write_text(to_json(results, facts))
    mmcv.imwrite(picture[..., ::-1], str(args.work_dir / 'lost_cameras.png'))
    if args.page is not None:
        mmcv.imwrite(picture[..., ::-1], str(args.page.parent / 'images' / 'lost_cameras.png'))
        write_between(args.page, BEGIN, END, table + '\n![scores against cameras lost](images/lost_cameras.png)\n')
    print(f'\n{table}\nwritten: {args.work_dir}/lost_cameras.md, .json, .png')


if __name__ == '__main__':
    main()
