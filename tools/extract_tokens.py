"""Write the scene tokens of a whole data set to a cache, for language models to read instead of images.

    python tools/extract_tokens.py CONFIG CHECKPOINT --out work_dirs/tokens --split both

A folder of safetensors shards with an index (docs/scene_tokens.md). Killed or interrupted, the same command goes on
where it stopped. By default it holds what the projector reads, so that a projector can still be trained on it.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from scene_qformer.engine import loading_faults
from scene_qformer.engine.command_line import load_config, make_parser
from scene_qformer.inference import spread_indices
from scene_qformer.token_cache import SPACES, Provenance, TokenCacheWriter
from scene_qformer.token_extraction import build_split, compute_tokens, listing_file, load_encoder


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', type=Path, required=True, help='folder of the cache')
    parser.add_argument('--split', choices=['train', 'val', 'both'], default='both',
                        help="train: the train_dataloader's frames; val: the test_dataloader's (default: both)")
    parser.add_argument('--space', choices=list(SPACES), default='queries',
                        help='queries: what the projector reads (default); tokens: behind the projector')
    parser.add_argument('--dtype', choices=['float32', 'float16', 'bfloat16'], default='float32', help='of the values')
    parser.add_argument('--shard-size', type=int, default=256, help='frames in a file: what a kill loses at most')
    parser.add_argument('--num', type=int, help='only so many frames of each split, evenly spread')
    parser.add_argument('--batch-size', type=int, default=1, help='frames at once; more pay on a GPU')
    parser.add_argument('--num-workers', type=int, default=0, help='processes that load images')
    parser.add_argument('--device', default='cpu', help='cpu or cuda:0')
    parser.add_argument('--overwrite', action='store_true', help='replace a cache of something else, if one is there')
    args = parser.parse_args()
    for flag in ('shard_size', 'batch_size', 'num'):
        if getattr(args, flag) is not None and getattr(args, flag) < 1:
            parser.error(f'--{flag.replace("_", "-")} must be at least 1, got {getattr(args, flag)}')
    return args


def main() -> None:
    args = parse_args()
    MMLogger.get_instance('mmengine', log_level='WARNING')  # the cache is the result, not the log
    try:
        cfg = load_config(args)
        extract(args, cfg, Provenance.of(cfg, args.checkpoint, args.space, args.dtype))
    except (OSError, LookupError, ModuleNotFoundError, ValueError) as error:
        sys.exit(f'extract_tokens.py: {error}')


def extract(args: argparse.Namespace, cfg: Config, provenance: Provenance) -> None:
    """Compute and write what the cache lacks."""
    # first, lest an old cache is gone when this checkpoint turns out to be of another model
    model = load_encoder(cfg, args.checkpoint, args.device, args.space) if args.overwrite else None
    with TokenCacheWriter(args.out, provenance, args.shard_size, args.overwrite) as writer:
        for split in ('train', 'val') if args.split == 'both' else (args.split, ):
            dataset = build_split(cfg, split)
            indices = {dataset.get_data_info(index)['token']: index
                       for index in spread_indices(len(dataset), args.num or len(dataset))}
            writer.begin(split, listing_file(dataset), len(dataset))
            missing = writer.missing(list(indices))
            there = len(indices) - len(missing)
            print(f'{split}: {len(indices)} frames, {there} of them are in {args.out}', flush=True)
            if missing:
                model = model or load_encoder(cfg, args.checkpoint, args.device, args.space)
                fill(writer, model, Subset(dataset, [indices[token] for token in missing]), args, split)
    print(f'written: {args.out}')


def fill(writer: TokenCacheWriter, model: BaseModel, frames: Subset, args: argparse.Namespace,
         split: str) -> None:
    """Compute and write some frames; tells how many there are a second and how long it will take."""
    loader = DataLoader(frames, args.batch_size, num_workers=args.num_workers, collate_fn=pseudo_collate)
    faults: list[str] = []
    with tqdm(total=len(frames), desc=split, unit='frame') as progress:
        for batch in loader:
            tokens = compute_tokens(model, batch, args.space)
            faults += (text for _, text in loading_faults(batch['data_samples']))  # with on_fault='mask'
            for sample, token in zip(batch['data_samples'], tokens):
                writer.add(sample.metainfo['sample_token'], token, sample.metainfo.get('camera_faults'))
            progress.update(len(tokens))
    if faults:
        print(f'{split}: {len(faults)} cameras were masked, so that their frames have tokens of the others alone. '
              f'{writer.notes} tells which:')
        print('\n'.join(faults))


if __name__ == '__main__':
    main()
