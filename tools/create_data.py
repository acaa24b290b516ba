"""Write mmdet3d's info files for a nuScenes root, wherever it lies.

Example::

    python tools/create_data.py --root /data/sets/nuscenes --version v1.0-trainval
"""
from __future__ import annotations

import argparse
import os
import sys


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--root', required=True, help='the nuScenes root: the folder with samples/, maps/ and v1.0-*/')
    parser.add_argument('--version', required=True, choices=('v1.0-mini', 'v1.0-trainval', 'v1.0-test'))
    parser.add_argument('--out', help='where to write nuscenes_infos_*.pkl (default: the root)')
    parser.add_argument('--max-sweeps', type=int, default=10, help='LiDAR sweeps listed before a key frame')
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1, help='processes (default: all cores)')
    parser.add_argument('--overwrite', action='store_true', help='replace existing info files')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    try:
        from scene_qformer.datasets.nuscenes_infos import create_info_files
    except ModuleNotFoundError as error:
        sys.exit(f'create_data.py needs {error.name}, which is not installed.\nInstall the environment with `make '
                 'setup`, or, in your own one, `pip install -e .` and `pip install nuscenes-devkit mmdet3d`.')
    try:
        create_info_files(args.root, args.version, args.out, args.overwrite, args.max_sweeps, args.workers)
    except (OSError, ValueError) as error:
        sys.exit(f'create_data.py: {error}')


if __name__ == '__main__':
    main()
