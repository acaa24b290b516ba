"""Put the scores of test runs side by side: a table, its numbers and a bar chart.

    python tools/analysis/compare_results.py untrained=work_dirs/a trained=work_dirs/b --out-dir work_dirs/comparison
"""
from __future__ import annotations

import argparse
from pathlib import Path

import mmcv

from scene_qformer.evaluation.results_table import read_scores, to_json, to_markdown
from scene_qformer.visualization import draw_class_scores


def named_folder(text: str) -> tuple[str, Path]:
    """``name=folder`` as its two parts."""
    name, separator, folder = text.partition('=')
    if not separator or not name or not folder:
        raise argparse.ArgumentTypeError(f'expected NAME=WORK_DIR, got {text!r}')
    return name, Path(folder)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('runs', nargs='+', type=named_folder, metavar='NAME=WORK_DIR',
                        help='a name and the work directory of tools/test.py')
    parser.add_argument('--out-dir', type=Path, required=True,
                        help='where results.md, results.json and class_ap.png are written')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    scores = {name: read_scores(folder) for name, folder in args.runs}
    args.out_dir.mkdir(parents=True, exist_ok=True)
    table = to_markdown(scores)
    (args.out_dir / 'results.md').write_text(table)
    (args.out_dir / 'results.json').write_text(to_json(scores))
    class_ap = {name: model.class_ap for name, model in scores.items()}
    classes = list(dict.fromkeys(name for model in class_ap.values() for name in model))
    mmcv.imwrite(draw_class_scores(class_ap, classes)[..., ::-1], str(args.out_dir / 'class_ap.png'))
    print(table)
    print(f'written: {args.out_dir}/results.md, results.json, class_ap.png')


if __name__ == '__main__':
    main()
