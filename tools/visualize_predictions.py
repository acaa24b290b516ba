"""Draw predicted and true boxes on frames of the test set: six cameras and the bird's-eye view in one picture a frame.

    python tools/visualize_predictions.py CONFIG CHECKPOINT --out-dir work_dirs/frames --num 8
"""
from __future__ import annotations

import argparse
from pathlib import Path

import mmcv
from mmengine.logging import MMLogger
from mmengine.utils import track_iter_progress

from scene_qformer.engine.command_line import load_config, make_parser
from scene_qformer.inference import build_test_dataset, keep_confident, load_model, predict_frame, spread_indices
from scene_qformer.visualization import draw_frame, read_frame


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out-dir', type=Path, required=True, help='where the pictures go')
    parser.add_argument('--num', type=int, default=8, help='number of frames, evenly spread over the test set')
    parser.add_argument('--score-thr', type=float, default=0.3, help='boxes with a lower score are not drawn')
    parser.add_argument('--extent', type=float, default=55.0, help="half the side of the bird's-eye view, metres")
    parser.add_argument('--suffix', choices=['.png', '.jpg'], default='.png', help='picture format')
    parser.add_argument('--device', default='cpu', help='cpu or cuda:0')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    MMLogger.get_instance('mmengine', log_level='WARNING')  # the pictures are the result, not the log
    cfg = load_config(args)
    model = load_model(cfg, args.checkpoint, args.device)
    dataset = build_test_dataset(cfg)
    pts_prefix = dataset.data_prefix.get('pts', '')
    for index in track_iter_progress(spread_indices(len(dataset), args.num)):
        inputs = dataset[index]
        frame = read_frame(dataset.get_data_info(index), pts_prefix, inputs['data_samples'])
        prediction = keep_confident(predict_frame(model, inputs).pred_instances_3d, args.score_thr)
        picture = draw_frame(frame.images, frame.lidar2img, prediction, frame.gt_instances_3d,
                             dataset.metainfo['classes'], frame.points, extent=args.extent,
                             title=f'frame {index + 1} of {len(dataset)}, sample {frame.token}, '
                                   f'scores from {args.score_thr:g}')
        mmcv.imwrite(picture[..., ::-1], str(args.out_dir / f'{index:04d}_{frame.token}{args.suffix}'))
    print(f'\nwritten: {args.out_dir}')


if __name__ == '__main__':
    main()
