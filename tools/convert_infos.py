"""Write an info file as JSON, which cannot carry code, or a JSON one as the pickle that mmdet3d's own tools read.

Data sets and metrics read either::

    python tools/convert_infos.py data/nuscenes/nuscenes_infos_val.pkl data/nuscenes/nuscenes_infos_val.json
    python tools/convert_infos.py data/nuscenes/nuscenes_infos_val.json /tmp/nuscenes_infos_val.pkl
"""
from __future__ import annotations

import argparse
import sys


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', help='info file, .pkl or .json')
    parser.add_argument('target', help='file to write, .json or .pkl')
    parser.add_argument('--overwrite', action='store_true', help='replace an existing file')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from scene_qformer.datasets.info_conversion import convert_info_file  # after the arguments are found right
    try:
        frames = convert_info_file(args.source, args.target, args.overwrite)
    except (OSError, ValueError) as error:
        sys.exit(f'convert_infos.py: {error}')
    print(f'{args.target}: {frames} frames')


if __name__ == '__main__':
    main()
