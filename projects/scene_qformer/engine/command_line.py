"""The flags that ``tools/train.py`` and ``tools/test.py`` share: mmdet3d's own."""
from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from mmengine.config import Config, DictAction

from .process_group import refuse_several_processes


def make_parser(description: str) -> argparse.ArgumentParser:
    """A parser with the shared flags."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', type=config_file, help='config file')
    parser.add_argument('--work-dir', help='where logs and results go; default work_dirs/<name of the config>')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override entries of the config: xxx.yyy=value; lists as key="[a,b]" or key=a,b')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    # torchrun sets LOCAL_RANK; older launchers pass the flag instead
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser


def config_file(path: str) -> str:
    """argparse's check that a config is there."""
    if not Path(path).is_file():
        raise argparse.ArgumentTypeError(f'There is no config {path}. Configs lie in configs/scene_qformer/ and '
                                         'configs/scene_language/.')
    return path


def load_config(args: argparse.Namespace, several_processes: bool = False) -> Config:
    """Read the config and apply the shared flags.

    Args:
        args: Of :func:`make_parser`.
        several_processes: Whether the tool can be one of several; it then calls ``join_processes`` with the config.

    Raises:
        ProcessGroupError: If it cannot, and is.
    """
    if not several_processes:
        refuse_several_processes(f'tools/{Path(sys.argv[0]).name}', args.launcher)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif not cfg.get('work_dir'):
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    return cfg
