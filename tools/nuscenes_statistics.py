"""Print what nuScenes roots hold: classes per sample, distances, sizes, speeds, visibility, attributes.

Example::

    python tools/nuscenes_statistics.py --root data/synthetic_nuscenes --version v1.0-mini
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nuscenes import NuScenes

from scene_qformer.synthetic.set_statistics import format_table, measure_set


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--root', type=Path, required=True, help='a nuScenes root, synthetic or real')
    parser.add_argument('--version', default='v1.0-mini', help='default: %(default)s')
    args = parser.parse_args()
    if not (args.root / args.version).is_dir():
        found = sorted(path.name for path in args.root.glob('v1.0-*')) or 'none'
        print(f'error: {args.root} has no version {args.version}; found: {found}', file=sys.stderr)
        return 1
    print(format_table(measure_set(NuScenes(args.version, str(args.root), verbose=False))))
    return 0


if __name__ == '__main__':
    sys.exit(main())
