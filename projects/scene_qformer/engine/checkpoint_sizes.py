"""A checkpoint must not take more memory than its file has bytes: what it says of sizes is checked, not believed."""
from __future__ import annotations

import os
import zipfile
from typing import Any, BinaryIO

import torch

SMALL = 1 << 24  # bytes that a view may take when copied: buffers are at times expanded


def check_archive(file: BinaryIO) -> bool:
    """Check a checkpoint that is a zip archive, as ``torch.save`` writes it: parts as they are, each once.

    Deflated parts unfold to a thousand times the file, and PyTorch would unfold them.

    Args:
        file: Open for reading.

    Returns:
        Whether reading it takes no more memory than it has bytes: it is an archive, and no pickle in it names the one
        function with which ``weights_only=True`` would let it ask for any amount.

    Raises:
        ValueError: If a part is compressed, named twice, or larger than the file.
    """
    if not zipfile.is_zipfile(file):
        return False  # the older format, or none: PyTorch reads that up to its end alone
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError) as error:
        raise ValueError(f'its archive is damaged: {error}') from error
    if any(part.filename.endswith(('/constants.pkl', '/code/.debug_pkl')) for part in parts):
        raise ValueError('it is a TorchScript archive, a program; expected weights')
    names = [part.filename for part in parts]
    bad = [part.filename for part in parts if part.compress_type != zipfile.ZIP_STORED or part.flag_bits & 1]
    if bad:
        raise ValueError(f'its part {bad[0]!r:.80} is compressed, as torch.save never does; it could fill the memory')
    if len(set(names)) < len(names) or sum(part.file_size for part in parts) > os.fstat(file.fileno()).st_size:
        raise ValueError(f'its {len(parts)} parts are said to be larger than the file, or one stands for another')
    try:
        with zipfile.ZipFile(file) as archive:
            return not any(b'bytearray' in archive.read(name) for name in names if name.endswith('/data.pkl'))
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise ValueError(f'its archive is damaged: {error}') from error


def check_tensors(weights: Any) -> None:
    """Check that tensors by name have a value for each of their elements.

    A tensor may be a view that shows one value a trillion times; copying it takes the memory for all.

    Raises:
        ValueError: If one has more elements than its storage, and too many for that to be meant.
    """
    for name, value in weights.items() if isinstance(weights, dict) else ():
        if isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.is_quantized and (
                value.numel() * value.element_size() > max(value.untyped_storage().nbytes(), SMALL)):
            raise ValueError(f'its tensor {name!r:.80} is said to have {value.numel()} elements, but holds '
                             f'{value.untyped_storage().nbytes()} bytes')
