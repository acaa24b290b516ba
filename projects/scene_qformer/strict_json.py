"""JSON from strangers: read with what is wrong and where, and with nothing settled in silence.

Python's reader keeps the last of two equal keys, takes NaN for a number, and fails with errors of its inside on deep
nesting and on numbers of thousands of digits.
"""
from __future__ import annotations

import json
from typing import Any


def parse_json(content: bytes, source: str, nan: bool = False) -> Any:
    """Read JSON.

    Args:
        content: Of a file, in UTF-8, with or without a byte order mark.
        source: What errors call it: e.g. ``the index tokens/index.json``.
        nan: Whether ``NaN`` is a number. It is none in JSON, but what info files say of an unknown velocity. Infinity
            is never one.

    Returns:
        Objects as dicts, lists, texts, numbers, booleans and None.

    Raises:
        ValueError: If it is no UTF-8, no JSON, nested too deeply, has a key twice in an object, or a number that is
            none or has too many digits; names the source and the place.
    """

    def constant(name: str) -> float:
        if nan and name == 'NaN':
            return float('nan')
        raise _Refused(f'it has the number {name}, which JSON does not know. Write null, or leave the entry out.')

    def once(pairs: list[tuple[str, Any]]) -> dict:
        entries = dict(pairs)
        if len(entries) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise _Refused(f'one of its objects has the key {twice!a:.80} twice, beside '
                           f'{", ".join(ascii(key)[:40] for key in list(entries)[:5] if key != twice) or "no other"}. '
                           'One of both would be lost: remove the wrong one.')
        return entries

    try:
        return json.loads(content.decode('utf-8-sig'), parse_constant=constant, object_pairs_hook=once)
    except _Refused as error:
        found = str(error)
    except UnicodeDecodeError as error:
        utf16 = ', as of UTF-16' if content[:2] in (b'\xff\xfe', b'\xfe\xff') else ''
        found = f'byte {error.start} is {content[error.start]:#04x}{utf16}, which is no UTF-8. Save it as UTF-8.'
    except json.JSONDecodeError as error:
        found = f'{error}. It is cut off or was not written as such.'
    except RecursionError:
        found = 'it is nested too deeply. No file of this kind is.'
    except ValueError:
        found = 'it has a whole number of thousands of digits. No file of this kind has.'
    raise ValueError(f'Cannot read {source} as JSON: {found}')


class _Refused(ValueError):
    pass
