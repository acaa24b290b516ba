"""One table of the variants of cross-attention, encoding and queries, each changed alone, at one equal budget.

    python tools/analysis/compare_variants.py --list
    python tools/analysis/compare_variants.py --jobs 2

Every run is one training of the base with one entry replaced (see ``projects/scene_qformer/variants.py``), in a folder
of its own below the work directory. All start from one backbone and neck, which are trained first, on the same frames.
Started again, the script goes on where it was. A run whose settings changed
(config, budget, data, precision) is done anew, and a table never holds runs of different ones. Time a frame is measured
first, of all variants in turn: leave the machine alone meanwhile.
"""
from __future__ import annotations

import argparse
import fnmatch
import signal
import sys
from pathlib import Path

import mmcv
import numpy as np
from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from scene_qformer.comparison import (
    budgeted_base,
    facts_of,
    measure,
    plan_image_branch,
    plan_runs,
    row,
    start_from,
)
from scene_qformer.engine import bfloat16_is_fast
from scene_qformer.engine.command_line import config_file
from scene_qformer.evaluation.variant_table import to_json, to_markdown
from scene_qformer.marked_page import write_between
from scene_qformer.training_runs import TrainingRun, train_all
from scene_qformer.variants import BASE_NAME, Axes, Options, as_typed, axes, cross, with_options
from scene_qformer.visualization.variant_plot import draw_variants

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = REPOSITORY / 'configs/scene_qformer/scene-qformer_tiny-stride16_synthetic.py'
BEGIN, END = '<!-- written by compare_variants.py -->', '<!-- end -->'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=config_file, nargs='?', default=str(CONFIG),
                        help='config that the base is derived from; default: the embedded one with a coarser map')
    parser.add_argument('--epochs', type=int, default=3, help='of every run; the learning rate falls over just these')
    parser.add_argument('--image-epochs', type=int, default=12, help='of backbone and neck alone, once, before all '
                        'runs, which start there and keep the backbone frozen; 0: every run from nothing')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1], help='a run of every variant for each')
    parser.add_argument('--jobs', type=int, default=1, help='trainings at a time, which share the cores')
    parser.add_argument('--axes', nargs='+', metavar='AXIS', help='only these; see --list')
    parser.add_argument('--cross', nargs=2, action='append', default=[], metavar='AXIS',
                        help='also every variant of one axis with every one of another')
    parser.add_argument('--only', nargs='+', metavar='PATTERN', help="only variants so named, e.g. '*DeformableAtt*'")
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override entries: xxx.yyy=value')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/variants'))
    parser.add_argument('--rounds', type=int, default=15, help='timed forward passes of every variant; 0 for no times')
    parser.add_argument('--page', type=Path, help=f'Markdown page to write the table into, between {BEGIN!r} and '
                        f'{END!r}; the picture goes to images/ beside it')
    parser.add_argument('--list', action='store_true', help='say what would be run, and stop')
    return parser.parse_args()


def choose(args: argparse.Namespace, around: Axes) -> list[tuple[str, str, Options]]:
    """Axis, name and options of the variants that are wanted."""
    for name in [*(args.axes or []), *(name for pair in args.cross for name in pair)]:
        if name not in around:
            sys.exit(f'There is no axis {name!r}: the axes are {", ".join(map(repr, around))}.')
    chosen = {name: around[name] for name in args.axes or around}
    chosen.update({f'{first} x {second}': cross(around[first], around[second]) for first, second in args.cross})
    rows = [(axis, name, options) for axis, members in chosen.items() for name, options in members.items()
            if not args.only or any(fnmatch.fnmatchcase(name, pattern) for pattern in args.only)]
    if not rows:
        sys.exit(f'No variant is called {" or ".join(args.only)}; see --list.')
    return rows


def train(runs: list[TrainingRun], jobs: int) -> dict[tuple[str, int], str]:
    """Train what is not finished; why runs failed."""
    return train_all(runs, REPOSITORY / 'tools' / 'train.py', jobs, ['--amp'] if bfloat16_is_fast() else [],
                     report=lambda line: print(line, flush=True))


def start_together(configs: dict[str, Config], image_branch: TrainingRun) -> dict[str, Config]:
    """Train the image branch, and let all configs start from it."""
    failures = train([image_branch], jobs=1)
    if failures:
        sys.exit('The training of the image branch failed, and all variants start from it: '
                 + next(iter(failures.values())))
    return {name: start_from(cfg, image_branch) for name, cfg in configs.items()}


def write_page(page: Path, table: str, picture: np.ndarray) -> None:
    """Put the table and the picture between the marks of a page."""
    mmcv.imwrite(picture[..., ::-1], str(page.parent / 'images' / 'variants.png'))
    try:
        write_between(page, BEGIN, END, f'![mAP and time of all variants](images/variants.png)\n\n{table}')
    except ValueError as error:
        sys.exit(str(error))


def main() -> None:
    args = parse_args()
    MMLogger.get_current_instance().setLevel('WARNING')
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    base, rows = budgeted_base(cfg, args.epochs), choose(args, axes(cfg))
    configs = {BASE_NAME: base, **{f'{axis}: {name}': with_options(base, options) for axis, name, options in rows}}
    if args.list:
        for axis, name, options in rows:
            print(f'{axis}: {name}\n    {as_typed(options)}')
        print(f'{len(configs)} variants with the base, {len(configs) * len(args.seeds)} runs')
        return
    args.work_dir.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end the trainings with this script
    init_default_scope('mmdet3d')
    parameters, times = measure(configs, args.rounds, args.work_dir / 'times.json')
    if args.image_epochs:
        image_branch = plan_image_branch(cfg, args.image_epochs, args.work_dir / 'runs')
        configs = start_together(configs, image_branch)
    runs = plan_runs(configs, args.seeds, args.work_dir / 'runs')
    failures = train(runs, args.jobs)

    base_row = row(BASE_NAME, '', BASE_NAME, '', runs, parameters, times)
    results = [row(f'{axis}: {name}', axis, name, as_typed(options), runs, parameters, times)
               for axis, name, options in rows]
    facts = facts_of(Path(args.config).name, cfg, base, base_row, args.rounds, args.image_epochs)
    table = to_markdown(base_row, results, args.seeds, facts)
    picture = draw_variants(base_row, results, f'Variants of {BASE_NAME}; {facts["budget of every run"]}')
    (args.work_dir / 'table.md').write_text(table)
    (args.work_dir / 'table.json').write_text(to_json(base_row, results, facts))
    mmcv.imwrite(picture[..., ::-1], str(args.work_dir / 'variants.png'))
    if args.page:
        write_page(args.page, table, picture)
    print(f'\n{table}\nwritten: table.md, table.json and variants.png in {args.work_dir}')
    if failures:
        sys.exit(f'{len(failures)} runs failed, as told above; started again, the script repeats just these.')


if __name__ == '__main__':
    main()
