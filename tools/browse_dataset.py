"""Draw frames of the test set with their true boxes, to look at data before training on it.

    python tools/browse_dataset.py CONFIG --out-dir work_dirs/browse --num 8
"""
from __future__ import annotations

import argparse
from pathlib import Path

import mmcv
from mmengine.logging import MMLogger
from mmengine.utils import track_iter_progress

from scene_qformer.engine.command_line import load_config, make_parser
from scene_qformer.inference import build_test_dataset, spread_indices
from scene_qformer.visualization import draw_frame, read_frame


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument('--out-dir', type=Path, required=True, help='where the pictures go')
    parser.add_argument('--num', type=int, default=8, help='number of frames, evenly spread over the set')
    parser.add_argument('--extent', type=float, default=55.0, help="half the side of the bird's-eye view, metres")
    parser.add_argument('--suffix', choices=['.png', '.jpg'], default='.png', help='picture format')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    MMLogger.get_instance('mmengine', log_level='WARNING')
    cfg = load_config(args)
    dataset = build_test_dataset(cfg)
    for index in track_iter_progress(spread_indices(len(dataset), args.num)):
        frame = read_frame(dataset.get_data_info(index), dataset.data_prefix.get('pts', ''),
                           dataset[index]['data_samples'])
        picture = draw_frame(frame.images, frame.lidar2img, None, frame.gt_instances_3d, dataset.metainfo['classes'],
                             frame.points, extent=args.extent,
                             title=f'frame {index + 1} of {len(dataset)}, sample {frame.token}')
        mmcv.imwrite(picture[..., ::-1], str(args.out_dir / f'{index:04d}_{frame.token}{args.suffix}'))
    print(f'\nwritten: {args.out_dir}')


if __name__ == '__main__':
    main()
