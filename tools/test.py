"""Test a scene Q-Former: ``tools/test.py CONFIG CHECKPOINT``, with mmdet3d's flags.

Pictures are drawn by ``tools/visualize_predictions.py`` (instead of ``--show`` and ``--show-dir``).
"""
from __future__ import annotations

from mmengine.runner import Runner

from scene_qformer.engine.command_line import load_config, make_parser


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint file')
    args = parser.parse_args()
    cfg = load_config(args)
    cfg.load_from = args.checkpoint
    cfg.resume = False
    Runner.from_cfg(cfg).test()


if __name__ == '__main__':
    main()
