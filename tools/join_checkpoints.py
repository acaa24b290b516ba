"""Join an encoder's checkpoint with that of a TokenReader trained on its cached tokens: the whole model, for images.

    python tools/join_checkpoints.py work_dirs/encoder/epoch_24.pth work_dirs/reader/epoch_6.pth --out whole.pth

Projector and language model are the reader's, all other parts the encoder's.
"""
from __future__ import annotations

import argparse
from pathlib import Path

import torch

from scene_qformer.engine import load_from_safe_file

READ_BEHIND = ('projector.', 'language_model.')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('encoder', help='checkpoint of the model that the cache was extracted with')
    parser.add_argument('reader', help='checkpoint of the TokenReader')
    parser.add_argument('--out', type=Path, required=True, help='the file to write')
    return parser.parse_args()


def join(encoder: dict, reader: dict) -> dict:
    """The checkpoint of the whole model.

    Raises:
        ValueError: If the second one is no reader's, or the first one no encoder's.
    """
    weights, read = encoder.get('state_dict', encoder), reader.get('state_dict', reader)
    strange = [name for name in read if not name.startswith(READ_BEHIND)]
    if strange:
        raise ValueError('Expected the second checkpoint to be of a TokenReader, with weights of '
                         f'{" and ".join(READ_BEHIND)} alone; it also has {strange[0]}.')
    kept = {name: value for name, value in weights.items() if not name.startswith(READ_BEHIND)}
    if not kept:
        raise ValueError(f'Expected the first checkpoint to be of a model that reads images; it has weights of '
                         f'{" and ".join(READ_BEHIND)} alone.')
    meta = {key: value for key, value in encoder.get('meta', {}).items() if key == 'dataset_meta'}
    return dict(state_dict={**kept, **read}, meta=meta)


def main() -> None:
    args = parse_args()
    joined = join(*(load_from_safe_file(path, map_location='cpu') for path in (args.encoder, args.reader)))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(joined, args.out)
    print(f'written: {args.out}')


if __name__ == '__main__':
    main()
