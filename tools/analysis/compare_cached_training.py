"""Training from cached tokens against training from images, the encoder frozen: the same losses, and how much faster.

    python tools/extract_tokens.py CONFIG CHECKPOINT --out CACHE --split train
    python tools/analysis/compare_cached_training.py CONFIG CHECKPOINT --cache CACHE

CONFIG and CHECKPOINT are the encoder's; ``--reader`` is the config of what learns behind it, a TokenReader. The same
reader starts three times from the same weights and learns the same questions in the same order: behind the encoder on
images that are decoded every time, on images kept in memory, and from the cache. Epochs are timed in turns, in float32,
under AdamW: Muon orthogonalises in bfloat16, which makes a difference of every rounding.
Exit status 1 if losses differ by more than ``--tolerance``, or if an epoch from the cache is not ``--wanted`` times
faster than one that decodes its images.
"""
from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from mmdet3d.registry import DATASETS, MODELS
from mmengine.config import Config, DictAction
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader

from scene_qformer.engine.command_line import config_file
from scene_qformer.token_cache import plain_test_dataset
from scene_qformer.token_extraction import load_encoder

REPOSITORY = Path(__file__).resolve().parents[2]
READER = REPOSITORY / 'configs/scene_language/scene-language_tiny-tokens_synthetic.py'
ENCODER_PARTS = ('backbone', 'neck', 'positional_encoding', 'scene_queries', 'decoder')
OPTIM_WRAPPER = dict(optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05), clip_grad=dict(max_norm=1))
DECODED, KEPT, CACHED = WAYS = ('images, decoded every time', 'images, kept in memory', 'cached tokens')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=config_file, help="the encoder's config")
    parser.add_argument('checkpoint', help="the encoder's checkpoint")
    parser.add_argument('--cache', type=Path, required=True, help='folder that extract_tokens.py wrote with them')
    parser.add_argument('--reader', type=config_file, default=str(READER), help='default: %(default)s')
    parser.add_argument('--reader-options', nargs='+', action=DictAction, metavar='KEY=VALUE', default={},
                        help="override entries of the reader's config, e.g. model.projector.in_channels=256, the width "
                        'of the tokens')
    parser.add_argument('--frames', type=int, help='only the first so many; default all of the training set')
    parser.add_argument('--epochs', type=int, default=3, help='timed epochs of each way (default: %(default)s)')
    parser.add_argument('--wanted', type=float, default=5., help='times faster (default: %(default)s)')
    parser.add_argument('--tolerance', type=float, default=1e-4, help='of losses (default: %(default)s)')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/compare_cached_training.json'))
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


def frozen_encoder_before(encoder: Config, reader: Config) -> dict:
    """The ``model`` that reads images: the encoder, frozen, and the reader's parts; no heads."""
    model = encoder.model
    # not update(), which would merge the old projector into the new one
    return dict(model, frozen_parts=[part for part in ENCODER_PARTS if model.get(part)], bbox_head=None, aux_heads=None,
                denoising=None, projector=reader.model.get('projector'), language_model=reader.model.language_model)


def dataset_of(way: str, encoder: Config, reader: Config, args: argparse.Namespace) -> dict:
    """The reader's training frames with all that comes before its questions read in this way."""
    dataset = copy.deepcopy(reader.train_dataloader.dataset)
    if args.frames is not None:
        dataset.indices = args.frames  # BaseDataset keeps the first ones
    if way == CACHED:
        for step in dataset.pipeline:
            if step.type == 'LoadSceneTokens':  # which refuses the cache of another encoder
                step.update(cache=str(args.cache), config=args.config, checkpoint=args.checkpoint)
        return dataset
    by_images = plain_test_dataset(encoder)
    *load, pack = copy.deepcopy(by_images['pipeline'])
    for step in load:
        if step['type'] == 'LoadSurroundImages':
            step['cache'] = way == KEPT
    choose = [step for step in dataset.pipeline if step.type == 'ChooseQuestions']
    dataset.pipeline = [*load, *choose, pack]
    for key in ('cam_names', 'modality'):
        if key in by_images:
            dataset[key] = by_images[key]
    return dataset


def build_models(encoder: Config, reader: Config, args: argparse.Namespace) -> dict[str, BaseModel]:
    """One for each way; what learns has the same weights in all of them."""
    torch.manual_seed(args.seed)
    from_cache = MODELS.build(reader.model)
    from_cache.init_weights()
    from_images = MODELS.build(frozen_encoder_before(encoder, reader))
    from_images.load_state_dict(load_encoder(encoder, args.checkpoint, space='queries').state_dict(), strict=False)
    from_images.load_state_dict(from_cache.state_dict(), strict=False)
    return {DECODED: from_images, KEPT: copy.deepcopy(from_images), CACHED: from_cache}


def train_an_epoch(model: BaseModel, optim_wrapper: OptimWrapper, dataset: BaseDataset, batch_size: int,
                   seed: int) -> tuple[list[float], float]:
    """Losses step by step, and seconds. The seed decides the order of frames and which questions are chosen."""
    np.random.seed(seed)
    torch.manual_seed(seed)
    order = torch.Generator().manual_seed(seed)
    model.train()
    start = time.perf_counter()
    losses = [model.train_step(batch, optim_wrapper)['loss_text'].detach() for batch in DataLoader(
        dataset, batch_size, shuffle=True, generator=order, collate_fn=pseudo_collate)]
    return [loss.item() for loss in losses], time.perf_counter() - start


def compare(encoder: Config, reader: Config, args: argparse.Namespace) -> dict:
    """Train in all ways, in turns; returns losses and seconds by way, and what follows from them."""
    models = build_models(encoder, reader, args)
    datasets = {way: DATASETS.build(dataset_of(way, encoder, reader, args)) for way in WAYS}
    wrappers = {way: build_optim_wrapper(model, copy.deepcopy(OPTIM_WRAPPER)) for way, model in models.items()}
    batch_size = reader.train_dataloader.batch_size
    losses: dict[str, list[float]] = {way: [] for way in WAYS}
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for index in range(len(datasets[KEPT])):
        datasets[KEPT][index]  # into memory; the shards of the cache are verified when they are first read
        datasets[CACHED][index]
    for epoch in range(args.epochs):
        for way in WAYS:
            of_epoch, took = train_an_epoch(models[way], wrappers[way], datasets[way], batch_size, args.seed + epoch)
            losses[way] += of_epoch
            seconds[way].append(took)
            print(f'epoch {epoch + 1}, {way}: {took:.1f} s, loss {np.mean(of_epoch):.4f}', flush=True)
    medians = {way: float(np.median(values)) for way, values in seconds.items()}
    return dict(
        encoder=Path(args.config).stem, reader=Path(args.reader).stem, frames=len(datasets[CACHED]),
        steps=len(losses[CACHED]), batch_size=batch_size, threads=torch.get_num_threads(),
        largest_difference=max(largest_difference(losses[way], losses[CACHED]) for way in (DECODED, KEPT)),
        seconds=seconds, median_seconds=medians, times_faster={way: medians[way] / medians[CACHED] for way in WAYS[:2]},
        losses=losses)


def largest_difference(losses: Sequence[float], others: Sequence[float]) -> float:
    """Of two trainings, step by step."""
    return float(np.abs(np.subtract(losses, others)).max())


def problems(result: Mapping, wanted: float, tolerance: float) -> list[str]:
    """What is not as it should be, in words."""
    found = []
    if not result['largest_difference'] <= tolerance:  # nor NaN
        found.append(f'Losses from the cache differ by up to {result["largest_difference"]:.2g} from those from '
                     f'images; {tolerance:g} was expected at most.')
    if result['times_faster'][DECODED] < wanted:
        found.append(f'An epoch from the cache is only {result["times_faster"][DECODED]:.1f} times faster than one '
                     f'that decodes its images; {wanted:g} times were wanted.')
    return found


def main() -> None:
    args = parse_args()
    MMLogger.get_instance('mmengine', log_level='WARNING')  # the comparison is the result, not the log
    encoder, reader = Config.fromfile(args.config), Config.fromfile(args.reader)
    reader.merge_from_dict(args.reader_options)
    init_default_scope(reader.default_scope)
    try:
        result = compare(encoder, reader, args)
    except (OSError, LookupError, ValueError) as error:
        sys.exit(f'compare_cached_training.py: {error}')
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + '\n')
    for way in WAYS:
        faster = f', {result["times_faster"][way]:.1f} times as long as from the cache' if way != CACHED else ''
        print(f'{way}: {result["median_seconds"][way]:.2f} s an epoch{faster}')
    print(f'{result["steps"]} steps: losses differ by at most {result["largest_difference"]:.2g}')
    found = problems(result, args.wanted, args.tolerance)
    if found:
        sys.exit('\n'.join(found))


if __name__ == '__main__':
    main()
