"""Write questions with exact answers from the annotations of a nuScenes root, real or synthetic.

It needs the info files that ``tools/create_data.py`` writes. Example::

    python tools/create_questions.py --root data/synthetic_nuscenes --version v1.0-mini
"""
from __future__ import annotations

import argparse
import sys


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--root', required=True, help='the nuScenes root: the folder with samples/, maps/ and v1.0-*/')
    parser.add_argument('--version', required=True, choices=('v1.0-mini', 'v1.0-trainval'))
    parser.add_argument('--info-root', help='folder of nuscenes_infos_{train,val}.pkl (default: the root)')
    parser.add_argument('--out', help='where to write questions_{train,val}.json (default: beside the info files)')
    parser.add_argument('--per-frame', type=int, default=20, help='the most questions a frame; default: %(default)s')
    parser.add_argument('--seed', type=int, default=0, help='the same seed gives the same files; default: %(default)s')
    parser.add_argument('--overwrite', action='store_true', help='replace existing question files')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    try:
        from scene_qformer.datasets.questions.generator import create_question_files
    except ModuleNotFoundError as error:
        sys.exit(f'create_questions.py needs {error.name}, which is not installed.\nInstall the environment with `make '
                 'setup`, or, in your own one, `pip install -e .` and `pip install nuscenes-devkit mmdet3d`.')
    try:
        create_question_files(args.root, args.version, args.out, args.info_root, args.per_frame, args.seed,
                              args.overwrite)
    except (OSError, ValueError) as error:
        sys.exit(f'create_questions.py: {error}')


if __name__ == '__main__':
    main()
