"""Draw loss and validation scores against training time from a work directory's logs.

    python tools/analysis/learning_curve.py work_dirs/demo/train --out docs/images/learning_curve.png
"""
from __future__ import annotations

import argparse
import json
from pathlib import Path

import mmcv

from scene_qformer.visualization import draw_learning_curve, read_learning_curve


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dir', type=Path, help='work directory of tools/train.py')
    parser.add_argument('--out', type=Path, help='picture to write (default: learning_curve.png in the work directory)')
    parser.add_argument('--metrics', nargs='+', default=['mAP', 'NDS'], help="last part of the scores' names")
    parser.add_argument('--untrained', type=json.loads, metavar='JSON',
                        help='''scores before training, e.g. '{"mAP": 0.0, "NDS": 0.02}\'''')
    parser.add_argument('--title', default='')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    curve = read_learning_curve(args.work_dir, tuple(args.metrics))
    out = args.out or args.work_dir / 'learning_curve.png'
    picture = draw_learning_curve(curve, args.untrained, args.title)
    mmcv.imwrite(picture[..., ::-1], str(out))
    print(f'{"epoch":>5} {"minutes":>8} ' + ' '.join(f'{name:>7}' for name in curve.val_scores))
    for row, (epoch, seconds) in enumerate(zip(curve.val_epochs, curve.val_seconds)):
        scores = ' '.join(f'{values[row]:7.4f}' for values in curve.val_scores.values())
        print(f'{epoch:5.0f} {seconds / 60:8.2f} {scores}')
    print(f'written: {out}')


if __name__ == '__main__':
    main()
