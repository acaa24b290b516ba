"""What the parts cost on this machine: ways to the same result, in turns, beside a baseline and a floor.

    python tools/benchmark.py all                    # the CPU set, in about ten minutes; make bench
    python tools/benchmark.py loader --root data/nuscenes
    python tools/benchmark.py model --batch-size 1 32 --device cuda:0

``loader``: JPEG files to a batch, one core. ``ops``: deformable attention. ``model``: images to tokens. ``train``: a
training step. ``growth``: the model against cameras, resolution, queries, layers. Every figure is a median with its
quartiles; every ratio is to a baseline of the same run, and the floor is what this machine's measured rates allow.
Without ``--root``, and without NUSCENES_ROOT, a few frames of the synthetic set are written first.
"""
from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from mmdet3d.utils import register_all_modules
from mmengine.config import Config
from mmengine.logging import MMLogger

from scene_qformer.benchmark import growth, loader, model, ops, table, train
from scene_qformer.engine.command_line import config_file
from scene_qformer.marked_page import write_between

REPOSITORY = Path(__file__).resolve().parents[1]
DEFAULT = REPOSITORY / 'configs/scene_qformer/scene-qformer_r50_8xb4-24e_nus-336.py'
EMBEDDED = REPOSITORY / 'configs/scene_qformer/scene-qformer_tiny_synthetic.py'
PARTS = ('loader', 'ops', 'model', 'train', 'growth')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('parts', nargs='+', choices=[*PARTS, 'all'], metavar='PART', help=f'{", ".join(PARTS)} or all')
    parser.add_argument('--device', default='cuda:0' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--rounds', type=int, default=7, help='timed calls of each way (default: %(default)s)')
    parser.add_argument('--config', type=config_file, default=str(DEFAULT), help='of model and growth '
                        '(default: %(default)s)')
    parser.add_argument('--train-config', type=config_file, help='of train; by default the embedded model on a CPU and '
                        'the default one on a GPU')
    parser.add_argument('--batch-size', type=int, nargs='+', help='of model and train; by default 1 and 2 on a CPU, 1, '
                        '8 and 32 on a GPU')
    parser.add_argument('--root', type=Path, help='nuScenes root, of loader; default: NUSCENES_ROOT')
    parser.add_argument('--ann-file', default='nuscenes_infos_val.pkl', help='info file in it (default: %(default)s)')
    parser.add_argument('--frames', type=int, default=4, help='that loader loads (default: %(default)s)')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/benchmark'))
    parser.add_argument('--page', type=Path, help='Markdown page to write each part into, between its marks')
    return parser.parse_args()


def machine() -> dict[str, str]:
    """What the figures are of."""
    with_gpu = torch.cuda.is_available()
    name = torch.cuda.get_device_name() if with_gpu else _cpu_name()
    return {'machine': f'{name}, {torch.get_num_threads()} threads' if not with_gpu else name,
            'versions': f'Python {platform.python_version()}, torch {torch.__version__}'}


def _cpu_name() -> str:
    info = Path('/proc/cpuinfo')
    names = [line.partition(':')[2].strip() for line in info.read_text().splitlines()
             if line.startswith('model name')] if info.is_file() else []
    return names[0] if names else platform.processor() or platform.machine()


def write_frames(work_dir: Path) -> Path:
    """A nuScenes root with a few synthetic frames, where there is no other."""
    root = work_dir / 'nuscenes'
    if not (root / 'nuscenes_infos_val.pkl').is_file():
        for tool, *arguments in (
                ('create_synthetic_nuscenes.py', '--out', str(root), '--samples-per-scene', '2'),
                ('create_data.py', '--root', str(root), '--version', 'v1.0-mini')):
            subprocess.run([sys.executable, str(REPOSITORY / 'tools' / tool), *arguments], check=True)
    return root


def run(part: str, args: argparse.Namespace, report: Callable[[str], None]) -> tuple[str, list[table.Table]]:
    """A part's Markdown, and its tables."""
    on_gpu = args.device != 'cpu'
    if part == 'growth':
        points = growth.measure_growth(Config.fromfile(args.config), max(args.rounds // 2, 1), args.device, report)
        (args.work_dir / 'growth.json').write_text(growth.to_json(points, machine()))
        return growth.to_markdown(points), []
    if part == 'loader':
        named = args.root or os.environ.get('NUSCENES_ROOT')
        tables = [loader.loader_table(named or write_frames(args.work_dir), args.ann_file, (336, 336), args.frames,
                                      args.rounds, report)]
    elif part == 'ops':
        tables = ops.ops_tables(args.rounds, args.device, report)
    elif part == 'model':
        cfg = Config.fromfile(args.config)
        tables = [model.model_table(cfg, size, args.rounds, args.device, *model.ways_on(args.device, size),
                                    title=Path(args.config).stem, report=report)
                  for size in args.batch_size or ((1, 8, 32) if on_gpu else (1, ))]
    else:
        path = args.train_config or (args.config if on_gpu else EMBEDDED)
        tables = [train.train_table(Config.fromfile(path), size, args.rounds, args.device, 3. if on_gpu else None,
                                    Path(path).stem, report)
                  for size in args.batch_size or ((8, ) if on_gpu else (2, ))]
    return '\n'.join(map(table.to_markdown, tables)), tables


def tell(part: str, line: str) -> None:
    """Progress, beside the results."""
    print(f'{part}: {line}', file=sys.stderr, flush=True)


def main() -> None:
    args = parse_args()
    MMLogger.get_current_instance().setLevel('WARNING')
    register_all_modules(init_default_scope=True)
    args.work_dir.mkdir(parents=True, exist_ok=True)
    facts = machine()
    print(*facts.values(), sep='\n', end='\n\n')
    for part in PARTS if 'all' in args.parts else args.parts:
        markdown, tables = run(part, args, partial(tell, part))
        print(markdown)
        (args.work_dir / f'{part}.md').write_text(markdown)
        if tables:
            (args.work_dir / f'{part}.json').write_text(table.to_json(tables, facts))
        if args.page:
            write_between(args.page, f'<!-- benchmark.py {part} -->', f'<!-- end of {part} -->',
                          f'{facts["machine"]}; {facts["versions"]}.\n\n{markdown}')
    print(f'written: {args.work_dir}')


if __name__ == '__main__':
    main()
