"""Writing a token cache so that a kill at any time loses at most the shard that was being filled."""
from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from ..durable_file import OF_A_TOOL, PARTIAL, NotWrittenError, write_durably
from .index import FILE_NAME, FORMAT, read_index, write_index
from .provenance import Provenance, StaleTokenCacheError, file_sha256, shown, tensors_sha256

_SUFFIX, _NOTES = '.safetensors', '-masked_cameras.txt'
_WAY_OUT = 'Name another folder, remove this one, or give --overwrite to replace what it holds.'


class TokenCacheWriter:
    """Starts a cache or goes on with one; a context, in which nobody else may write.

    A shard is written aside, flushed to the disk and renamed; then the index names it. So a file with a shard's name
    is whole; one that a kill kept from the index is taken in by the next writer; what lies aside is thrown away. ::

        with TokenCacheWriter(folder, provenance) as writer:
            writer.begin('val', info_file, frames=len(dataset))
            for token in writer.missing(sample_tokens):
                writer.add(token, ...)

    Leaving the context, by an error or Ctrl-C too, writes the last, smaller shard; but not where the error is that the
    disk takes no more.

    Args:
        folder: The cache; made if it is not there.
        provenance: What the tokens are made from.
        shard_size: Samples in a shard.
        overwrite: Where the folder holds a cache of something else, or shards of one, remove these.

    Raises:
        StaleTokenCacheError: If the folder holds a cache of something else, unless ``overwrite``; says what differs.
        ValueError: If there are shards of no cache, or, unless ``overwrite``, damaged ones that no index names.
        RuntimeError: If another process writes there.
        NotWrittenError: If the disk does not take the index.
    """

    def __init__(self, folder: str | Path, provenance: Provenance, shard_size: int = 256,
                 overwrite: bool = False) -> None:
        if shard_size < 1:
            raise ValueError(f'Expected a shard size of at least 1 sample, got {shard_size}.')
        self.folder = Path(folder)
        self.provenance = provenance
        self.shard_size = shard_size
        self.overwrite = overwrite
        self._lock = FileLock(str(self.folder / '.lock'), timeout=0)
        self._split = ''
        self._pending: dict[str, Tensor] = {}
        self._masked: dict[str, list[str]] = {}

    def __enter__(self) -> TokenCacheWriter:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise RuntimeError(f'Another process writes to {self.folder} now. Let it end, or name another folder.'
                               ) from error
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if not isinstance(error, NotWrittenError):  # else it would fail once more, and hide the first
                self.flush()
        finally:
            self._lock.release()

    def begin(self, split: str, info_file: str | Path, frames: int) -> None:
        """Say of which split, listed in which info file, the samples are that follow.

        Raises:
            StaleTokenCacheError: If samples of this split are there that were listed in another info file, unless
                ``overwrite``.
        """
        self.flush()
        data = dict(info_file=str(info_file), sha256=file_sha256(info_file), frames=frames)
        known = self._index['data'].get(split)
        if known is not None and known['sha256'] != data['sha256']:
            if not self.overwrite:
                raise StaleTokenCacheError(f'{self.folder} holds the split {split!r} of another data set: of '
                                           f'{known["info_file"]} with {known["frames"]} frames, not of {info_file} '
                                           f'with {frames}. {_WAY_OUT}')
            self._remove(f'{split}-')
        self._index['data'][split] = data
        self._split = split
        write_index(self.folder, self._index)

    def missing(self, sample_tokens: Sequence[str]) -> list[str]:
        """Those that the cache does not hold, in their order."""
        return [token for token in sample_tokens if token not in self._index['samples']]

    def add(self, sample_token: str, tokens: Tensor, masked: Mapping[str, str] | None = None) -> None:
        """Put a sample into the shard that is being filled.

        Args:
            sample_token: Of nuScenes.
            tokens: ``(Q, C)`` or ``(Q, D)``, on the CPU.
            masked: Camera to reason, of those that the frame does without; goes into :attr:`notes`, as a reader cannot
                see it in the tokens.

        Raises:
            ValueError: If a value is not finite or, in the type of the cache, not within its range; or if the shape is
                not that of the other samples.
        """
        shape = self._index['shape'] = self._index['shape'] or list(tokens.shape)
        if list(tokens.shape) != shape:
            raise ValueError(f'Expected tokens {tuple(shape)}, as of the other samples, got {tuple(tokens.shape)} of '
                             f'sample {sample_token}.')
        stored = tokens.to(getattr(torch, self.provenance.dtype))
        if not stored.isfinite().all():
            largest = float(tokens.abs().max())
            raise ValueError(f'The tokens of sample {sample_token} are not finite in {self.provenance.dtype} (largest '
                             f'value {largest:g}): ' + ('the model gives NaN or infinity.' if not largest < float('inf')
                                                        else 'use bfloat16, which has the range of float32.'))
        self._pending[sample_token] = stored.contiguous()
        self._masked[sample_token] = [f'{sample_token} {camera}: {" ".join(reason.split())}'  # a line each
                                      for camera, reason in (masked or {}).items()]
        if len(self._pending) >= self.shard_size:
            self.flush()

    @property
    def notes(self) -> Path:
        """The file of the split that lists the cameras which frames do without: ``<sample> <camera>: <reason>``."""
        return self.folder / f'{self._split}{_NOTES}'

    def flush(self) -> None:
        """Write the shard that is being filled, and first what its frames lack.

        Raises:
            NotWrittenError: If the disk does not take them, or the index. All that was written before is intact, and
                the next writer goes on there.
        """
        if not self._pending:
            return
        from safetensors.torch import save  # the package works without it
        self._write_notes()
        names = (f'{self._split}-{number:05d}{_SUFFIX}' for number in itertools.count())
        path = self.folder / next(name for name in names if name not in self._index['shards'])
        content = save(self._pending, metadata=dict(
            fingerprint=self.provenance.fingerprint, split=self._split, values_sha256=tensors_sha256(self._pending)))
        write_durably(path, content, OF_A_TOOL)
        self._take_in(path.name, hashlib.sha256(content).hexdigest(), list(self._pending))
        self._pending, self._masked = {}, {}
        write_index(self.folder, self._index)

    def _write_notes(self) -> None:
        """Before the shard: after a kill in between, its samples are missing, and what is noted of them is replaced."""
        lines = self.notes.read_text('utf-8', 'replace').splitlines() if self.notes.exists() else []
        kept = [line for line in lines if _sample_of(line) not in self._pending]
        noted = [line for token in self._pending for line in self._masked[token]]
        if noted or kept != lines:
            write_durably(self.notes, ''.join(f'{line}\n' for line in (*kept, *noted)).encode(), OF_A_TOOL)

    def _open(self) -> None:
        fresh = dict(format=FORMAT, **self.provenance.to_index(), shape=None, data={}, shards={}, samples={})
        self._index = fresh
        if (self.folder / FILE_NAME).exists():
            self._index = read_index(self.folder)
            differences = Provenance.from_index(self._index).differences(self.provenance)
            if differences and not self.overwrite:
                raise StaleTokenCacheError(f'{self.folder} holds a cache of something else:{shown(differences)}\n'
                                           f'{_WAY_OUT}')
            if differences:
                self._remove()
                self._index = fresh
        for name in (FILE_NAME, f'*{_SUFFIX}', f'*{_NOTES}'):  # the lock says that no other writer is at work on these
            for path in self.folder.glob(f'.{name}*{PARTIAL}'):
                path.unlink()
        self._forget_lost_shards()
        for path in sorted(self.folder.glob(f'*{_SUFFIX}')):
            if path.name not in self._index['shards']:
                self._adopt(path)
        write_index(self.folder, self._index)

    def _adopt(self, path: Path) -> None:
        """Take in a shard that was written, but not yet named by the index, when its writer was killed.

        No index vouches for its content, so the digest inside must.
        """
        metadata, tensors = _read_shard(path)
        if metadata.get('fingerprint') == self.provenance.fingerprint and tensors and metadata.get(
                'values_sha256') == tensors_sha256(tensors):
            self._index['shape'] = self._index['shape'] or list(next(iter(tensors.values())).shape)
            self._take_in(path.name, file_sha256(path), list(tensors))
        elif self.overwrite and metadata.keys() >= {'fingerprint', 'split'}:  # a shard of ours, of whatever cache
            path.unlink()
        else:
            raise ValueError(f'{path} is no shard of this cache: it was made from something else, or is damaged. '
                             'Remove it, or name another folder. (--overwrite removes shards of other caches.)')

    def _take_in(self, name: str, sha256: str, sample_tokens: list[str]) -> None:
        self._index['shards'][name] = dict(sha256=sha256, frames=len(sample_tokens))
        self._index['samples'].update(dict.fromkeys(sample_tokens, name))

    def _forget_lost_shards(self) -> None:
        """Samples of files that somebody removed, as a damaged one, are missing again."""
        lost = {name for name in self._index['shards'] if not (self.folder / name).is_file()}
        if lost:
            for name in lost:
                del self._index['shards'][name]
            self._index['samples'] = {token: name for token, name in self._index['samples'].items() if name not in lost}

    def _remove(self, prefix: str = '') -> None:
        """Remove the shards and notes of a split, or all; of what else lies in the folder, nothing."""
        notes = [f'{split}{_NOTES}' for split in self._index['data']]
        for name in (*self._index['shards'], *notes):
            if name.startswith(prefix):
                (self.folder / name).unlink(missing_ok=True)
        self._forget_lost_shards()


def _sample_of(note: str) -> str:
    """Whose camera is missing; notes were sentences at first."""
    sentence = re.match(r'Camera \S+ of sample (\S+) is masked', note)
    return sentence[1] if sentence else note.partition(' ')[0]


def _read_shard(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a safetensors file; empty ones if it is none."""
    from safetensors import SafetensorError, safe_open
    try:
        with safe_open(path, 'pt') as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no dict
    except SafetensorError:
        return {}, {}
