"""Write a synthetic data set in nuScenes' format: no download, no account.

Example::

    python tools/create_synthetic_nuscenes.py --out data/synthetic_nuscenes
"""
from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from pathlib import Path

if __name__ == '__main__' and (spec := importlib.util.find_spec('scene_qformer')):
    # The generator needs none of the models. Importing the package would import mmdet3d and torch, four seconds during
    # which no process records; so a bare package stands in for it.
    sys.modules['scene_qformer'] = importlib.util.module_from_spec(spec)

from scene_qformer.synthetic.nuscenes_generator import VERSIONS, GeneratorOptions, generate


def parse_args() -> argparse.Namespace:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True, help='folder to write; must not exist or be empty')
    parser.add_argument('--version', default='v1.0-mini', choices=VERSIONS, help='default: %(default)s')
    parser.add_argument('--scenes', type=int, help='number of scenes; default: all of the version (10 or 850)')
    parser.add_argument('--samples-per-scene', type=int, default=40, help='key frames at 2 Hz; default: %(default)s')
    parser.add_argument('--seed', type=int, default=0, help='the same seed gives the same bytes; default: %(default)s')
    parser.add_argument('--workers', type=int, default=cores, help='processes; default: one a core (%(default)s)')
    parser.add_argument('--overwrite', action='store_true', help='replace a data set that this tool wrote earlier')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    start = time.perf_counter()
    try:
        rows = generate(GeneratorOptions(args.out, args.version, args.scenes, args.samples_per_scene, args.seed,
                                         args.workers, args.overwrite))
    except (OSError, RuntimeError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    size = sum(path.stat().st_size for path in args.out.rglob('*') if path.is_file())
    print(f'Wrote {args.version} with {len(rows["scene"])} scenes, {len(rows["sample"])} samples, '
          f'{len(rows["sample_annotation"])} annotations of {len(rows["instance"])} objects '
          f'({size / 1e6:.0f} MB) to {args.out} in {time.perf_counter() - start:.0f} s.')
    print(f'Next: python tools/create_data.py --root {args.out} --version {args.version}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
