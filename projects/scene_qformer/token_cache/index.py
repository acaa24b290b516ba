"""The index of a token cache::

    format      1
    space       'queries' or 'tokens'
    dtype       'float32', 'float16' or 'bfloat16'
    shape       [Q, C or D] of one sample; null before the first
    config      path; settings: what of it matters to the tokens; sha256 of the settings; file_settings_sha256: of those
                that the file of that path has, before options changed them; not in older caches
    checkpoint  path; sha256 of the file; weights_sha256 of the weights in it that matter
    data        split -> info_file, its sha256, frames: how many it lists
    shards      file name -> sha256 of the file, frames: how many it holds
    samples     sample token -> file name of the shard, which holds a tensor of that name
"""
from __future__ import annotations

import json
from pathlib import Path

from ..durable_file import OF_A_TOOL, write_durably
from ..strict_json import parse_json
from .index_check import check_index

FORMAT = 1
FILE_NAME = 'index.json'
_KEYS = {'format', 'space', 'dtype', 'shape', 'config', 'checkpoint', 'data', 'shards', 'samples'}


def read_index(folder: Path) -> dict:
    """Read the index of a cache.

    Raises:
        FileNotFoundError: If the folder holds no cache.
        ValueError: If the index is damaged or of another format.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise FileNotFoundError(f'There is no token cache in {folder}: no {FILE_NAME}. Write one with\n'
                                f'  python tools/extract_tokens.py CONFIG CHECKPOINT --out {folder}')
    try:
        index = parse_json(path.read_bytes(), f'the index {path}')
    except ValueError as error:
        raise ValueError(f'{error} Remove the folder and extract the tokens anew.') from error
    found = index.get('format') if isinstance(index, dict) else None
    if found != FORMAT or not index.keys() >= _KEYS:
        raise ValueError(f'{path} is no index of a token cache of format {FORMAT}: format {found}, lacking '
                         f'{_lacking(index)}. Extract the tokens anew.')
    check_index(index, path)
    return index


def write_index(folder: Path, index: dict) -> None:
    """Replace the index in one step: after a crash it is the old one or the new one.

    Raises:
        NotWrittenError: If the disk does not take it; the old one is intact.
    """
    write_durably(folder / FILE_NAME, json.dumps(index, indent=1).encode(), OF_A_TOOL)


def _lacking(index: object) -> str:
    return ', '.join(sorted(_KEYS - set(index if isinstance(index, dict) else ()))) or 'nothing'
