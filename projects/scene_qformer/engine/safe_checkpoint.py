"""Load checkpoints without ever executing what they carry.

mmengine writes more than tensors into a checkpoint (loss histories, numpy arrays, the config as Python source), and
reading it has three doors for foreign code: unpickling, evaluating that config on ``--resume``, and downloading what a
URL names. Importing this module replaces mmengine's loaders by one that

- unpickles with ``weights_only=True`` and an allow-list of just what mmengine's own checkpoints hold,
- renames ``meta['config']`` to ``meta['config_text']``, which nothing evaluates,
- refuses URLs: a download happens only when a person starts it,
- compares a file with its digest, where one lies beside it,
- tells a file that is damaged from one that could not be read, which says nothing of what it holds.
"""
from __future__ import annotations

import errno
import io
import pickle
import re
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader

from ..data_only_pickle import PickledArray, PickledDtype, reconstruct, scalar, with_arrays
from ..durable_file import DamagedFileError, check_digest
from .checkpoint_sizes import check_archive, check_tensors

STATISTICS = ('min', 'max', 'current', 'mean')


class NotReadError(OSError):
    """The system did not give a file, or memory for it. What the file holds is not known."""


class _NotingFile(io.FileIO):
    """A file that keeps why the system did not give it: ``zipfile`` and PyTorch may say that it is damaged then."""

    failure: OSError | None = None

    def readinto(self, buffer: Any) -> int | None:  # type: ignore[override]
        try:
            return super().readinto(buffer)
        except OSError as error:
            self.failure = error
            raise

    def readall(self) -> bytes:
        try:
            return super().readall()
        except OSError as error:
            self.failure = error
            raise


def _history_buffer_method(owner: Any, name: str) -> Any:
    """Stands in for ``getattr``, by which pickle names the methods that a ``HistoryBuffer`` keeps a table of."""
    if owner is not HistoryBuffer or name not in STATISTICS:
        raise pickle.UnpicklingError(f'the checkpoint asks for the attribute {name!r} of {owner!r}')
    return getattr(HistoryBuffer, name)


def allowed_globals() -> list:
    """The classes and functions, beside tensors and builtin containers, that mmengine's own checkpoints name."""
    allowed: list = [HistoryBuffer, (_history_buffer_method, 'builtins.getattr')]
    # NumPy's own functions believe what a file says of an array's size. Stand-ins do not.
    allowed += [PickledArray, PickledDtype, (reconstruct, 'numpy.ndarray'), (PickledDtype, 'numpy.dtype')]
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):  # of numpy 1 and 2
        allowed += [(reconstruct, f'{module}._reconstruct'), (scalar, f'{module}.scalar')]
    return allowed


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_safe_file(filename: str, map_location: Any = None) -> dict:
    """Load a checkpoint file.

    Args:
        filename: Path of the file; one that ends in ``.safetensors`` is read as such.
        map_location: As in ``torch.load``. Of a ``.safetensors`` file, which does not tell where its tensors were, a
            function or a dict leaves them on the CPU.

    Returns:
        The checkpoint; ``meta['config']``, which mmengine would evaluate, is found under ``meta['config_text']``. Of a
        ``.safetensors`` file, the tensors by name.

    Raises:
        FileNotFoundError: If there is no such file.
        ModuleNotFoundError: If the file is a ``.safetensors`` one and that package is missing.
        DamagedFileError: If the file is damaged, or differs from the digest beside it.
        NotReadError: If the disk, the network or the permissions do not let it be read, or the memory does not suffice.
        ValueError: If it names anything but data.
    """
    path = Path(filename).expanduser()
    try:
        return _load(path, map_location)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise error if isinstance(error, NotReadError) else _not_read(path, error) from error


def _load(path: Path, map_location: Any) -> dict:
    if not path.is_file():
        raise FileNotFoundError(f'There is no checkpoint {path}. Expected a file written by training, or weights that '
                                'you downloaded; check the path. To start without the weights that a config names for '
                                'its backbone: --cfg-options model.backbone.init_cfg=None.')
    check_digest(path)
    if path.suffix == '.safetensors':
        return _load_safetensors(path, map_location)
    with _NotingFile(path) as raw, io.BufferedReader(raw) as file:
        try:
            checkpoint = _load_pytorch(path, cast(BinaryIO, file), map_location)
        except (ValueError, OSError) as error:
            if raw.failure is not None:
                raise _not_read(path, raw.failure) from error
            raise
        if raw.failure is not None:  # zipfile took it for another format, whose sizes are not checked
            raise _not_read(path, raw.failure)
    if isinstance(checkpoint, dict) and isinstance(checkpoint.get('meta'), dict) and 'config' in checkpoint['meta']:
        checkpoint['meta']['config_text'] = checkpoint['meta'].pop('config')
    return checkpoint


def _load_pytorch(path: Path, file: BinaryIO, map_location: Any) -> Any:
    sizes_are_true = False
    try:
        sizes_are_true = check_archive(file)
        file.seek(0)
        with torch.serialization.safe_globals(allowed_globals()):
            checkpoint = torch.load(file, map_location=map_location, weights_only=True)
        checkpoint = with_arrays(checkpoint, opened=(HistoryBuffer, ))
        if isinstance(checkpoint, dict):
            check_tensors(checkpoint.get('state_dict', checkpoint))
        return checkpoint
    except pickle.UnpicklingError as error:
        if not _names_code(error):
            raise DamagedFileError(_damaged(path, error)) from error
        raise ValueError(f'Refused to load {path}: it carries more than weights, and executing it was prevented. '
                         'Use checkpoints from a source that you trust, and re-save foreign ones as a plain state '
                         f'dict. What it asked for: {_reason(error)}') from error
    except (RuntimeError, EOFError, OSError, LookupError, ValueError, TypeError, AttributeError, MemoryError,
            ArithmeticError) as error:  # unpickling noise raises nearly anything
        if isinstance(error, OSError) and error.errno not in _OF_NOISE:
            raise
        if sizes_are_true and _lacks_memory(error, path.stat().st_size):
            raise _not_read(path, error) from error
        raise DamagedFileError(_damaged(path, error)) from error


def _load_safetensors(path: Path, map_location: Any) -> dict:
    try:
        import safetensors.torch  # the package works without it
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f'Reading {path} needs safetensors, which is not installed: `pip install '
                                  'safetensors`.') from error
    device = str(map_location) if isinstance(map_location, (str, torch.device)) else 'cpu'
    try:
        return safetensors.torch.load_file(path, device=device)
    except safetensors.SafetensorError as error:
        raise DamagedFileError(_damaged(path, error)) from error
    except (RuntimeError, MemoryError) as error:
        if _lacks_memory(error, path.stat().st_size):
            raise _not_read(path, error) from error
        raise


_OF_NOISE = (None, errno.EINVAL)  # PyTorch's own, and a place before the file's beginning


def _lacks_memory(error: Exception, size: int) -> bool:
    """Whether there was no memory for what a file of so many bytes may ask for."""
    asked = re.search(r'(?:allocate|not enough) memory: you tried to allocate (\d+) bytes', str(error))
    if asked:
        return int(asked[1]) <= size
    return isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError))


def _not_read(path: Path, error: Exception) -> NotReadError:
    left = f'This says nothing of what it holds, and it is left as it is. Its first cause: {_reason(error)}'
    if isinstance(error, OSError) and error.errno != errno.ENOMEM:
        return NotReadError(error.errno, f'{path} could not be read. Look after the disk, the network or the '
                            f'permissions, then try again. {left}')
    return NotReadError(errno.ENOMEM, f'There is not enough memory to read {path}, which has {_size(path)}. Make room '
                        f'(other processes, a limit of the job), then try again. {left}')


def _size(path: Path) -> str:
    try:
        return f'{path.stat().st_size:,} bytes'
    except OSError:
        return 'a size that cannot be told'


def _names_code(error: Exception) -> bool:
    """Whether unpickling stopped at something that the file asked for, and not at bytes that make no sense."""
    return any(words in str(error) for words in ('GLOBAL', 'asks for the attribute'))


def _damaged(path: Path, error: Exception) -> str:
    return (f'{path} cannot be read as a checkpoint ({_reason(error)}). The file is damaged or cut short, or no '
            'checkpoint at all: use an earlier one from the work directory, or download it again.')


def _reason(error: Exception) -> str:
    said = str(error).partition('WeightsUnpickler error: ')[2] or str(error)  # behind advice to switch the safety off
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if isinstance(error, RecursionError):
        return 'it is nested too deeply'
    if any('TorchScript archives' in line or 'legacy .tar' in line for line in lines):
        return 'it is an archive of another kind, which may hold a program'  # PyTorch's advice: switch the safety off
    telling = [line for line in lines if 'global' in line.lower() or 'asks for' in line]
    return (telling or lines or [type(error).__name__])[0][:300]


REMOTE_PREFIXES = tuple(prefix for prefix in CheckpointLoader._schemes if prefix != '')


@CheckpointLoader.register_scheme(prefixes=REMOTE_PREFIXES, force=True)
def load_from_nowhere(filename: str, map_location: Any = None) -> dict:
    """Refuse to download.

    Raises:
        ValueError: Always; says what to do instead.
    """
    raise ValueError(f'{filename} is not a local file, and nothing is downloaded unasked. Download the weights '
                     'yourself, check where they come from, and give the path of the file instead.')
