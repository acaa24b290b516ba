"""One table of the variants of cross-attention, encoding and queries, each changed alone, at one equal budget.

    python tools/analysis/compare_variants.py --list
    python tools/analysis/compare_variants.py --jobs 2

Every run is one training of the base with one entry replaced (see ``projects/scene_qformer/variants.py``), in a folder
of its own below the work directory. Started again, the script goes on where it was. A run whose settings changed
(config, budget, data, precision) is done anew, and a table never holds runs of different ones. Time a frame is measured
first, of all variants in turn: leave the machine alone meanwhile.
"""
from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import signal
import sys
from pathlib import Path

import mmcv
import numpy as np
import torch
from mmdet3d.registry import DATASETS, MODELS
from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from scene_qformer.engine import bfloat16_is_fast
from scene_qformer.engine.command_line import config_file
from scene_qformer.evaluation.forward_time import time_forward
from scene_qformer.evaluation.variant_table import VariantResult, to_json, to_markdown
from scene_qformer.experiment import epoch_options
from scene_qformer.random_batch import random_batch_like
from scene_qformer.training_runs import TrainingRun, data_digest, train_all
from scene_qformer.variants import BASE_NAME, Axes, Options, as_typed, axes, base_options, cross, with_options
from scene_qformer.visualization.variant_plot import draw_variants

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = REPOSITORY / 'configs/scene_qformer/scene-qformer_tiny_synthetic.py'
BEGIN, END = '<!-- written by compare_variants.py -->', '<!-- end -->'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=config_file, nargs='?', default=str(CONFIG),
                        help='config that the base is derived from; default: the embedded one')
    parser.add_argument('--epochs', type=int, default=6, help='of every run; the learning rate falls over just these')
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


def make_base(args: argparse.Namespace) -> tuple[Config, Axes]:
    """The config of the base, with the budget, and the axes around it."""
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    around = axes(cfg)
    base = with_options(cfg, base_options(cfg))
    schedule = dict(option.split('=') for option in epoch_options(base, args.epochs))
    base.merge_from_dict({key: int(value) for key, value in schedule.items()})
    base.train_cfg.val_interval = args.epochs
    base.default_hooks.checkpoint = dict(type='CheckpointHook', interval=args.epochs, save_optimizer=False)
    return base, around


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


def settings_of(cfg: Config, seed: int, data: str, precision: str) -> dict[str, str]:
    """All that decides the result of a run; not where the data lies."""
    text = cfg.pretty_text.replace(str(cfg.train_dataloader.dataset.data_root), '<data>')
    return dict(config=text, seed=str(seed), data=data, precision=precision)


def measure(configs: dict[str, Config], rounds: int, note: Path) -> tuple[dict[str, int], dict[str, list[float]]]:
    """Parameters, and seconds of forward passes in float32 at batch 1; times of the very same models are kept."""
    init_default_scope('mmdet3d')
    models = {name: MODELS.build(cfg.model) for name, cfg in configs.items()}
    parameters = {name: sum(value.numel() for value in model.parameters()) for name, model in models.items()}
    if not rounds:
        return parameters, {}
    text = json.dumps([rounds, torch.get_num_threads(), {name: repr(cfg.model) for name, cfg in configs.items()}])
    digest = hashlib.sha256(text.encode()).hexdigest()
    kept = json.loads(note.read_text()) if note.is_file() else {}
    if kept.get('settings') != digest:
        print(f'timing {len(models)} models in turn, {rounds} rounds', flush=True)
        torch.manual_seed(0)
        batch = random_batch_like(next(iter(configs.values())))
        times = time_forward(models, batch, rounds)
        kept = dict(settings=digest, seconds={name: values.tolist() for name, values in times.items()})
        note.write_text(json.dumps(kept) + '\n')
    return parameters, kept['seconds']


def facts_of(args: argparse.Namespace, base: Config, base_result: VariantResult, rounds: int) -> dict[str, str]:
    """What holds for all rows."""
    frames = len(DATASETS.build(base.train_dataloader.dataset))
    batch_size = base.train_dataloader.batch_size
    facts = {
        'base': f'{BASE_NAME} of {base.model.scene_queries.num_queries} queries, all else as in '
                f'`{Path(args.config).name}`, which has denoising {"on" if base.model.get("denoising") else "off"}',
        'budget of every run': f'{args.epochs} epochs of {frames} frames, batch {batch_size}: '
                               f'{args.epochs * -(-frames // batch_size)} steps',
        'precision of training': precision_of(base),
    }
    values = [scores['mAP'] for scores in base_result.scores.values()]
    if len(values) > 1:
        facts['mAP of the base from seed to seed'] = f'{min(values):.3f} to {max(values):.3f}'
    if rounds:
        facts['ms a frame'] = (f'median of {rounds} forward passes to boxes, batch 1, float32, '
                               f'number of threads {torch.get_num_threads()}, all variants in turn')
    return facts


def precision_of(cfg: Config) -> str:
    """As ``--amp`` makes it where that is fast."""
    return 'bfloat16' if bfloat16_is_fast() or cfg.optim_wrapper.type == 'BFloat16OptimWrapper' else 'float32'


def write_page(page: Path, table: str, picture: np.ndarray) -> None:
    """Put the table and the picture between the marks of a page."""
    before, mark, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        sys.exit(f'{page} lacks the marks {BEGIN!r} and {END!r}, between which the table is to stand.')
    mmcv.imwrite(picture[..., ::-1], str(page.parent / 'images' / 'variants.png'))
    page.write_text(f'{before}{BEGIN}\n\n![mAP and time of all variants](images/variants.png)\n\n{table}\n{END}{after}')


def main() -> None:
    args = parse_args()
    MMLogger.get_current_instance().setLevel('WARNING')
    base, around = make_base(args)
    rows = choose(args, around)
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

    dataset = base.train_dataloader.dataset
    data = data_digest(dataset.data_root, [dataset.ann_file, base.val_dataloader.dataset.ann_file])
    amp = ['--amp'] if bfloat16_is_fast() else []
    runs = []
    for seed in args.seeds:
        for name, cfg in configs.items():
            seeded = with_options(cfg, {'randomness': dict(seed=seed)})
            label = 'base' if name == BASE_NAME else name
            runs.append(TrainingRun(label, seed, seeded, settings_of(seeded, seed, data, precision_of(base)),
                                    args.work_dir / 'runs'))
    failures = train_all(runs, REPOSITORY / 'tools' / 'train.py', args.jobs, amp,
                         report=lambda line: print(line, flush=True))

    finished = {(run.name, run.seed): result for run in runs if (result := run.result())}

    def result_of(axis: str, name: str, label: str, change: str) -> VariantResult:
        milliseconds = 1e3 * np.array(times[name]) if name in times else None
        return VariantResult(
            axis, label, change, parameters[name],
            {seed: {key: finished[key_of, seed][key] for key in ('mAP', 'NDS')} for seed in args.seeds
             if (key_of := 'base' if name == BASE_NAME else name, seed) in finished},
            None if milliseconds is None else float(np.median(milliseconds)),
            None if milliseconds is None else tuple(np.percentile(milliseconds, (25, 75)).tolist()))

    base_result = result_of('', BASE_NAME, BASE_NAME, '')
    results = [result_of(axis, f'{axis}: {name}', name, as_typed(options)) for axis, name, options in rows]
    facts = facts_of(args, base, base_result, args.rounds)
    table = to_markdown(base_result, results, args.seeds, facts)
    picture = draw_variants(base_result, results, f'Variants of {BASE_NAME}; {facts["budget of every run"]}')
    (args.work_dir / 'table.md').write_text(table)
    (args.work_dir / 'table.json').write_text(to_json(base_result, results, facts))
    mmcv.imwrite(picture[..., ::-1], str(args.work_dir / 'variants.png'))
    if args.page:
        write_page(args.page, table, picture)
    print(f'\n{table}\nwritten: table.md, table.json and variants.png in {args.work_dir}')
    if failures:
        sys.exit(f'{len(failures)} runs failed, as told above; started again, the script repeats just these.')


if __name__ == '__main__':
    main()
