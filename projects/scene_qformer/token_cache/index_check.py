"""What an index says is checked before anything is opened, allocated or removed on its word."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_SHARD = re.compile(r'[A-Za-z0-9_][\w.-]*\.safetensors')
_SHA256 = re.compile(r'[0-9a-f]{64}')
_DTYPES = ('float32', 'float16', 'bfloat16')
_SPACES = ('queries', 'tokens')
# A sample of 2 ** 26 numbers is 8192 tokens of width 8192; caches hold a thousandth of it.
LARGEST_SAMPLE = 1 << 26


def check_index(index: dict, path: Path) -> None:
    """Check every entry of an index.

    Args:
        index: With all of its keys; see ``index.py``.
        path: Of its file, for errors.

    Raises:
        ValueError: If an entry is of another kind, a shard is not a file of the cache's own folder, a sample is in no
            shard, or a size is none; names the entry.
    """

    def expect(good: bool, entry: str, expected: str, found: Any) -> None:
        if not good:
            raise ValueError(f'The index {path} is damaged: expected {entry} to be {expected}, found {found!r:.100}. '
                             'Remove the folder and extract the tokens anew.')

    def texts(holder: Any, keys: tuple[str, ...], entry: str) -> None:
        expect(isinstance(holder, dict), entry, 'an object', holder)
        for key in keys:
            expect(isinstance(holder.get(key), str), f'{key!r} of {entry}', 'a text', holder.get(key))

    def number(value: Any, entry: str, expected: str = 'a whole number, not negative') -> None:
        expect(type(value) is int and 0 <= value < 1 << 48, entry, expected, value)

    expect(index['space'] in _SPACES, "'space'", ' or '.join(_SPACES), index['space'])
    expect(index['dtype'] in _DTYPES, "'dtype'", ' or '.join(_DTYPES), index['dtype'])
    texts(index['config'], ('path', ), "'config'")
    expect(isinstance(index['config'].get('settings'), dict), "'settings' of 'config'", 'an object',
           index['config'].get('settings'))
    texts(index['checkpoint'], ('path', 'sha256', 'weights_sha256'), "'checkpoint'")
    for key in ('data', 'shards', 'samples'):
        expect(isinstance(index[key], dict), repr(key), 'an object', index[key])
    for split, data in index['data'].items():
        texts(data, ('info_file', 'sha256'), f'split {split!r:.60}')
        number(data.get('frames'), f"'frames' of split {split!r:.60}")

    held = dict.fromkeys(index['shards'], 0)
    for name, shard in index['shards'].items():
        expect(bool(_SHARD.fullmatch(name)), 'the name of a shard',
               'that of a .safetensors file of the same folder', name)
        texts(shard, ('sha256', ), f'shard {name}')
        expect(bool(_SHA256.fullmatch(shard['sha256'])), f"'sha256' of shard {name}", '64 hexadecimal digits',
               shard['sha256'])
        number(shard.get('frames'), f"'frames' of shard {name}")
    for token, name in index['samples'].items():
        expect(isinstance(name, str) and name in held, f'the shard of sample {token!r:.60}', 'one of the shards', name)
        held[name] += 1
    for name, frames in held.items():
        expect(frames == index['shards'][name]['frames'], f"'frames' of shard {name}",
               f'{frames}, the samples that the index has of it', index['shards'][name]['frames'])

    shape = index['shape']
    if shape is None:
        expect(not index['samples'], "'shape'", 'that of the samples', shape)
        return
    sides = isinstance(shape, list) and len(shape) == 2 and all(type(side) is int and side > 0 for side in shape)
    expect(sides and shape[0] * shape[1] <= LARGEST_SAMPLE, "'shape'",
           f'two whole numbers whose product is at most {LARGEST_SAMPLE}', shape)
