"""Test a scene Q-Former: ``tools/test.py CONFIG CHECKPOINT``, with mmdet3d's flags.

Pictures are drawn by ``tools/visualize_predictions.py`` (instead of ``--show`` and ``--show-dir``).
"""
from __future__ import annotations

from mmengine.runner import Runner

from scene_qformer.engine import TRAINING_PARTS, join_processes, require_weights
from scene_qformer.engine.command_line import load_config, make_parser
from scene_qformer.engine.runner_parts import unwrapped_model


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint file')
    args = parser.parse_args()
    cfg = load_config(args, several_processes=True)
    cfg.load_from = args.checkpoint
    cfg.resume = False
    cfg.pop('strategy', None)  # of training; its checkpoints are whole, and each process tests with the whole model
    join_processes(cfg)
    runner = Runner.from_cfg(cfg)
    # scores of random parts would be scores of nothing
    require_weights(unwrapped_model(runner), args.checkpoint, TRAINING_PARTS)
    runner.test()


if __name__ == '__main__':
    main()
