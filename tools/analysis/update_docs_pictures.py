"""Draw the pictures of README.md and docs/ anew from a finished demo.

    make demo && python tools/analysis/update_docs_pictures.py
"""
from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CONFIG = 'configs/scene_qformer/scene-qformer_tiny_synthetic.py'
NUM_FRAMES = 10  # of which --frame is taken
ATTENTION = ['--sample-idx', '16', '--num-queries', '1', '--extent', '40', '--panel-width', '480', '--suffix', '.jpg']


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--demo', type=Path, default=Path('work_dirs/demo'), help="the demo's results")
    parser.add_argument('--frame', type=int, default=3, help=f'which of {NUM_FRAMES} frames of mini_val to show')
    parser.add_argument('--score-thr', type=float, default=0.25, help='predictions with a lower score are not drawn')
    return parser.parse_args()


def run(*command: str) -> None:
    subprocess.run([sys.executable, *command], check=True)


def main() -> None:
    args = parse_args()
    checkpoint = (args.demo / 'train' / 'last_checkpoint').read_text().strip()
    images = Path('docs/images')
    images.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        frames = ['--num', str(NUM_FRAMES), '--suffix', '.jpg']
        run('tools/browse_dataset.py', CONFIG, '--out-dir', f'{folder}/truth', *frames)
        run('tools/visualize_predictions.py', CONFIG, checkpoint, '--out-dir', f'{folder}/demo', *frames,
            '--score-thr', str(args.score_thr))
        for source, name in (('truth', 'synthetic_frame.jpg'), ('demo', 'demo_frame.jpg')):
            shutil.copyfile(sorted(Path(folder, source).iterdir())[args.frame], images / name)
        run('tools/visualize_attention.py', CONFIG, checkpoint, '--out-dir', f'{folder}/attention', *ATTENTION)
        shutil.copyfile(next(Path(folder, 'attention').iterdir()), images / 'attention.jpg')
    for name in ('learning_curve.png', 'class_ap.png'):
        shutil.copyfile(args.demo / name, images / name)
    for path in sorted(images.iterdir()):
        print(f'{path.stat().st_size / 1e3:8.0f} kB  {path}')


if __name__ == '__main__':
    main()
