"""Write the scene tokens of frames of the test set to a safetensors file, for language models to read.

    python tools/extract_scene_tokens.py CONFIG CHECKPOINT --out scene_tokens.safetensors --num 8

The file holds ``scene_tokens`` (F, Q, D) float32; its metadata names the config, the checkpoint and the F sample
tokens. The detection head trains the queries behind the tokens; the projector keeps its initial weights until a
language model's loss trains it.
"""
from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from mmengine.logging import MMLogger
from mmengine.utils import track_iter_progress
from safetensors.torch import save_file

from scene_qformer.engine.command_line import load_config, make_parser
from scene_qformer.inference import build_test_dataset, extract_scene_tokens, load_model, spread_indices


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', type=Path, required=True, help='the file to write')
    parser.add_argument('--num', type=int, help='number of frames, evenly spread over the test set (default: all)')
    parser.add_argument('--device', default='cpu', help='cpu or cuda:0')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    MMLogger.get_instance('mmengine', log_level='WARNING')  # the file is the result, not the log
    cfg = load_config(args)
    model = load_model(cfg, args.checkpoint, args.device)
    dataset = build_test_dataset(cfg)
    tokens, sample_tokens = [], []
    for index in track_iter_progress(spread_indices(len(dataset), args.num or len(dataset))):
        tokens.append(extract_scene_tokens(model, dataset[index]))
        sample_tokens.append(dataset.get_data_info(index)['token'])
    scene_tokens = torch.stack(tokens).contiguous()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_file({'scene_tokens': scene_tokens}, args.out, metadata={
        'config': args.config, 'checkpoint': args.checkpoint, 'sample_tokens': json.dumps(sample_tokens)})
    print(f'\nwritten: {args.out}, scene_tokens {tuple(scene_tokens.shape)} {scene_tokens.dtype}')


if __name__ == '__main__':
    main()
