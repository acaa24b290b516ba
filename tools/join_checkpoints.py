"""Join an encoder's checkpoint with that of a TokenReader trained on its cached tokens: the whole model, for images.

    python tools/join_checkpoints.py work_dirs/encoder/epoch_24.pth work_dirs/reader/epoch_6.pth --out whole.pth

Language model and projector, where it has one, are the reader's, all other parts the encoder's.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmengine.runner import save_checkpoint

from scene_qformer.engine import load_from_safe_file
from scene_qformer.token_cache.provenance import weights_sha256_of

READ_BEHIND = PROJECTOR, LANGUAGE_MODEL = 'projector.', 'language_model.'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('encoder', help='checkpoint of the model that the cache was extracted with')
    parser.add_argument('reader', help='checkpoint of the TokenReader')
    parser.add_argument('--out', type=Path, required=True, help='the file to write')
    return parser.parse_args()


def join(encoder: dict, reader: dict) -> dict:
    """The checkpoint of the whole model.

    A reader without projector read tokens from behind the encoder's, which is then kept.

    Raises:
        ValueError: If the second one is no reader's, or the first one no encoder's, or not that of the reader's tokens.
    """
    weights, read = encoder.get('state_dict', encoder), reader.get('state_dict', reader)
    strange = [name for name in read if not name.startswith(READ_BEHIND)]
    if strange:
        raise ValueError('Expected the second checkpoint to be of a TokenReader, with weights of '
                         f'{" and ".join(READ_BEHIND)} alone; it also has {strange[0]}.')
    if all(name.startswith(READ_BEHIND) for name in weights):
        raise ValueError(f'Expected the first checkpoint to be of a model that reads images; it has weights of '
                         f'{" and ".join(READ_BEHIND)} alone.')
    check_same_encoder(weights, reader.get('meta', {}).get('dataset_meta') or {})
    replaced = READ_BEHIND if any(name.startswith(PROJECTOR) for name in read) else LANGUAGE_MODEL
    kept = {name: value for name, value in weights.items() if not name.startswith(replaced)}
    meta = {key: value for key, value in encoder.get('meta', {}).items() if key == 'dataset_meta'}
    return dict(state_dict={**kept, **read}, meta=meta)


def check_same_encoder(weights: dict, dataset_meta: dict) -> None:
    """The reader's checkpoint says which encoder its tokens came from, unless it is an older one.

    Raises:
        ValueError: If from another one.
    """
    source = dataset_meta.get('scene_tokens')
    if source and source['weights_sha256'] != weights_sha256_of(weights, source['space']):
        raise ValueError('The first checkpoint is not of the encoder whose cached tokens the TokenReader was trained '
                         'on: its weights differ. Give the checkpoint that the cache was extracted with; index.json '
                         'in the folder of the cache names it.')


def main() -> None:
    args = parse_args()
    try:
        joined = join(*(load_from_safe_file(path, map_location='cpu') for path in (args.encoder, args.reader)))
    except (FileNotFoundError, LookupError, ModuleNotFoundError, ValueError) as error:
        sys.exit(f'join_checkpoints.py: {error}')
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(joined, str(args.out))
    print(f'written: {args.out}')


if __name__ == '__main__':
    main()
