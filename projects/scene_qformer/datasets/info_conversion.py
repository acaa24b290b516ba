"""Info files as JSON, which cannot hold code, and back as the pickles that mmdet3d's own tools read."""
from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import mmengine
import numpy as np

from ..durable_file import OF_A_TOOL, write_durably
from .info_file import load_info_file
from .output_files import check_outputs

ENDINGS = ('.json', '.pkl')


def convert_info_file(source: str | Path, target: str | Path, overwrite: bool = False) -> int:
    """Write an info file in the format of another ending.

    Args:
        source: An info file, ``.pkl`` or ``.json``; a pickle is read without running code.
        target: Where to write. JSON gets arrays as nested lists, and NaN (an unknown velocity) as ``NaN``.
        overwrite: Replace an existing file.

    Returns:
        The number of frames.

    Raises:
        FileExistsError: If ``target`` is there, and ``overwrite`` is False.
        NotADirectoryError: If a file stands where its folder should be.
        FileNotFoundError: If ``source`` is missing.
        ValueError: If an ending is another one, ``source`` is damaged or carries code, or it holds something that JSON
            would change: keys that are no texts, bytes, sets, infinity.
        NotWrittenError: If the disk does not take ``target``; what was there is intact.
    """
    source, target = Path(source), Path(target)
    for path in (source, target):
        if path.suffix not in ENDINGS:
            raise ValueError(f'Expected info files to end in {" or ".join(ENDINGS)}, got {path}.')
    check_outputs([target], overwrite, 'another name')
    try:
        read = load_info_file(source)  # first: it says how a file that is missing is made
        content = _Plain(source).of(read, 'the file')
    except RecursionError as error:
        raise ValueError(f'{source} is nested too deeply. No info file is; create it anew with tools/create_data.py.'
                         ) from error
    written = json.dumps(content).encode() if target.suffix == '.json' else mmengine.dump(content, file_format='pkl')
    write_durably(target, written, OF_A_TOOL)
    return len(content['data_list'])


class _Plain:
    """Values as JSON has them.

    A pickle of a few bytes may name the same list over and over, inside of itself too: written out, it has no end. So
    no more values are written than its bytes can hold.
    """

    def __init__(self, source: Path) -> None:
        self.source = source
        self.left = 4 * source.stat().st_size + 1000

    def of(self, value: Any, where: str) -> Any:
        """The value; ``where`` is its place, for errors."""
        self.left -= value.size if isinstance(value, np.ndarray) else 1
        if self.left < 0:
            raise ValueError(f'{self.source} names the same lists over and over: written out, it would be many times '
                             'as long. No info file is like that; create it anew with tools/create_data.py.')
        if isinstance(value, (np.ndarray, np.generic)):
            value = value.tolist()
        if isinstance(value, dict):
            bad = [key for key in value if not isinstance(key, str)]
            if bad:
                raise self._cannot(where, f'the key {bad[0]!r:.60}, which is no text')
            return {key: self.of(entry, f'{key!r} of {where}') for key, entry in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.of(entry, where) for entry in value]
        if value is None or isinstance(value, (str, bool, int)) or (isinstance(value, float) and not math.isinf(value)):
            return value
        raise self._cannot(where, f'{value!r:.60}, a {type(value).__name__}')

    def _cannot(self, where: str, what: str) -> ValueError:
        return ValueError(f'{self.source} cannot be written in the other format as it is: {where} has {what}. Expected '
                          'dicts with texts as keys, lists, texts, finite numbers, NaN and None.')
