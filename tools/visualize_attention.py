"""Draw where queries look on frames of the test set: attention on six cameras beside the bird's-eye view.

    python tools/visualize_attention.py CONFIG CHECKPOINT --out-dir work_dirs/attention --num 2
"""
from __future__ import annotations

import argparse
from pathlib import Path

import mmcv
from mmengine.logging import MMLogger
from mmengine.utils import track_iter_progress

from scene_qformer.engine.command_line import load_config, make_parser
from scene_qformer.inference import build_test_dataset, load_model, spread_indices
from scene_qformer.inspection import choose_queries, inspect_frame
from scene_qformer.visualization import draw_attention, read_frame


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out-dir', type=Path, required=True, help='where the pictures go')
    frames = parser.add_mutually_exclusive_group()
    frames.add_argument('--num', type=int, default=2, help='number of frames, evenly spread over the test set')
    frames.add_argument('--sample-idx', type=int, nargs='+', help='indices of frames in the test set, instead')
    parser.add_argument('--queries', type=int, nargs='+', help='indices of queries; default: the most confident one of '
                        'each class, the surest first')
    parser.add_argument('--num-queries', type=int, default=4, help='queries a frame, unless --queries names them')
    parser.add_argument('--layer', type=int, default=-1, help='which of the layers with cross-attention')
    parser.add_argument('--extent', type=float, default=55.0, help="half the side of the bird's-eye view, metres")
    parser.add_argument('--panel-width', type=int, default=640, help="width of one camera's picture, pixels")
    parser.add_argument('--suffix', choices=['.png', '.jpg'], default='.png', help='picture format')
    parser.add_argument('--device', default='cpu', help='cpu or cuda:0')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    MMLogger.get_instance('mmengine', log_level='WARNING')  # the pictures are the result, not the log
    cfg = load_config(args)
    model = load_model(cfg, args.checkpoint, args.device)
    dataset = build_test_dataset(cfg)
    classes = dataset.metainfo['classes']
    pts_prefix = dataset.data_prefix.get('pts', '')
    for index in track_iter_progress(args.sample_idx or spread_indices(len(dataset), args.num)):
        if not 0 <= index < len(dataset):
            raise SystemExit(f'There is no frame {index}: the test set has 0 to {len(dataset) - 1}.')
        inputs = dataset[index]
        frame = read_frame(dataset.get_data_info(index), pts_prefix, inputs['data_samples'])
        inspected = inspect_frame(model, inputs, args.layer)
        queries = args.queries or [inspected.first_query + query
                                   for query in choose_queries(inspected.predictions, args.num_queries)]
        for query in queries:
            if not 0 <= query < len(inspected.reference_points):
                raise SystemExit(f'There is no query {query}: there are 0 to {len(inspected.reference_points) - 1}.')
            prediction = inspected.prediction(query)
            says = '' if prediction is None else (
                f': {classes[int(prediction.labels_3d)].replace("_", " ")}, score {float(prediction.scores_3d):.2f}')
            picture = draw_attention(
                frame, inspected.look(query), inspected.reference_points, query, prediction,
                title=f'query {query}{says}; layer {inspected.layer_name}; frame {index + 1} of {len(dataset)}',
                panel_width=args.panel_width, extent=args.extent)
            mmcv.imwrite(picture[..., ::-1], str(args.out_dir / f'{index:04d}_{frame.token}_q{query:03d}{args.suffix}'))
    print(f'\nwritten: {args.out_dir}')


if __name__ == '__main__':
    main()
