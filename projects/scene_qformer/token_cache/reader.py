"""Reading a token cache: a sample by its token, from shards that are verified when first opened."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import Tensor

from .index import read_index
from .provenance import (
    Provenance,
    StaleTokenCacheError,
    file_sha256,
    settings_differences,
    settings_sha256,
    shown,
    token_settings,
    weights_sha256,
)

_HEADER_DTYPES = {'float32': 'F32', 'float16': 'F16', 'bfloat16': 'BF16'}  # as safetensors writes them


class TokenCache(Mapping[str, Tensor]):
    """Sample token to ``(Q, C)`` (space ``queries``) or ``(Q, D)`` (space ``tokens``), in the cache's dtype.

    Args:
        folder: Written by ``tools/extract_tokens.py``.
        verify: Compare each shard's sha256 with the index before its first sample is read: the price of reading the
            file once more. A process of its own (a data loader's worker) does so once too.

    Raises:
        FileNotFoundError: If there is no cache.
        ValueError: If its index is damaged.
    """

    def __init__(self, folder: str | Path, verify: bool = True) -> None:
        self.folder = Path(folder)
        self.verify = verify
        self._index = read_index(self.folder)
        self._files: dict[str, Any] = {}

    @property
    def provenance(self) -> Provenance:
        """What the tokens are and what they were made from."""
        return Provenance.from_index(self._index)

    @property
    def space(self) -> str:
        """``queries`` or ``tokens``."""
        return self._index['space']

    @property
    def shape(self) -> tuple[int, int]:
        """``(Q, C)`` or ``(Q, D)``."""
        return tuple(self._index['shape'] or (0, 0))  # type: ignore[return-value]

    def __len__(self) -> int:
        return len(self._index['samples'])

    def __iter__(self) -> Iterator[str]:
        return iter(self._index['samples'])

    def __contains__(self, sample_token: object) -> bool:
        return sample_token in self._index['samples']

    def __getitem__(self, sample_token: str) -> Tensor:
        """The tokens of a sample.

        Raises:
            LookupError: If the cache does not hold the sample.
            FileNotFoundError: If its shard is gone.
            ValueError: If its shard is damaged.
        """
        if sample_token not in self:
            splits = ', '.join(f'{split} ({data["frames"]} frames)' for split, data in self._index['data'].items())
            raise LookupError(f'The cache {self.folder} holds {len(self)} samples, of {splits or "no split"}, but not '
                              f'sample {sample_token}. Extract the others: the same command of tools/extract_tokens.py '
                              'with --split both, without --num, goes on where it stopped.')
        name = self._index['samples'][sample_token]
        file = self._open(name)
        self._check_header(file, name, sample_token)
        return file.get_tensor(sample_token)

    def verify_all(self) -> None:
        """Compare every shard with the index.

        Raises:
            FileNotFoundError: If one is gone.
            ValueError: If one is damaged.
        """
        for name in self._index['shards']:
            self._check(name)

    def check_current(self, config: Config | str | Path | None = None, checkpoint: str | Path | None = None) -> None:
        """Check that the tokens are those that this config, this checkpoint and the info files give.

        What is not stated is taken from the paths that the index names, where these files still exist: so a detector
        that was trained anew, an edited config and a rewritten info file are noticed unasked.

        Of config and checkpoint only what the tokens depend on counts (see ``provenance.py``): a checkpoint of a later
        stage whose encoder was frozen is as good as the one that the cache was made from.

        Args:
            config: The encoder's.
            checkpoint: The encoder's weights.

        Raises:
            FileNotFoundError: If a file that is stated does not exist.
            StaleTokenCacheError: If they would give others; says what differs.
        """
        made, differences = self.provenance, []
        if config is not None:
            cfg = config if isinstance(config, Config) else Config.fromfile(str(config))
            differences += settings_differences(made.settings, token_settings(cfg, self.space))
        elif made.file_settings_sha256 and Path(made.config).is_file():
            settings = token_settings(Config.fromfile(made.config), self.space)
            if settings_sha256(settings) != made.file_settings_sha256:  # else its options were given beside it
                differences += settings_differences(made.settings, settings)
        if checkpoint is None and Path(made.checkpoint).is_file():
            checkpoint = made.checkpoint
        if checkpoint is not None and _sha256_of_whole(checkpoint) != made.checkpoint_sha256:
            weights = weights_sha256(checkpoint, self.space)
            if weights != made.weights_sha256:
                differences.append(f'weights: of {made.checkpoint} there, of {checkpoint} here '
                                   f'(sha256 {made.weights_sha256[:12]}... and {weights[:12]}...)')
        for split, data in self._index['data'].items():
            if Path(data['info_file']).is_file() and _sha256_of_whole(data['info_file']) != data['sha256']:
                differences.append(f'frames of {split}: {data["info_file"]} has changed since')
        if differences:
            raise StaleTokenCacheError(f'The token cache {self.folder} is stale: it was made from something else than '
                                       f'what is stated here:{shown(differences)}\nExtract the tokens anew with '
                                       'tools/extract_tokens.py, or state the config and checkpoint that it was made '
                                       f'from: {made.config}, {made.checkpoint}.')

    def check_frames(self, info_file: str | Path) -> None:
        """Check that the cache is of the frames that an info file lists; one that is not on this disk is not checked.

        Raises:
            StaleTokenCacheError: If it is of those of other info files, by their contents.
        """
        data = self._index['data']
        if Path(info_file).is_file() and _sha256_of_whole(info_file) not in {each['sha256'] for each in data.values()}:
            made = ', '.join(f'{split}: {each["info_file"]}' for split, each in data.items()) or 'no frames'
            raise StaleTokenCacheError(f'The token cache {self.folder} is not of the frames in {info_file}, but of '
                                       f'{made}. If that file has changed, extract the tokens anew with '
                                       'tools/extract_tokens.py --overwrite; if its split is missing, with --split '
                                       'both.')

    def _open(self, name: str) -> Any:
        from safetensors import SafetensorError, safe_open  # the package works without it
        if name not in self._files:
            if self.verify:
                self._check(name)
            try:
                self._files[name] = safe_open(self._path(name), 'pt')
            except SafetensorError as error:
                raise self._damaged(name, f'its header is none ({error})') from error
        return self._files[name]

    def _check_header(self, file: Any, name: str, sample_token: str) -> None:
        """Before memory is taken: a sample is of the shape and type that the index says, and is there at all."""
        from safetensors import SafetensorError
        try:
            header = file.get_slice(sample_token)
        except SafetensorError as error:
            raise self._damaged(name, f'it does not hold sample {sample_token}, as the index says') from error
        found = header.get_dtype(), tuple(header.get_shape())
        expected = _HEADER_DTYPES[self._index['dtype']], self.shape
        if found != expected:
            raise self._damaged(name, f'sample {sample_token} is {found[0]} {found[1]} there, and the index says '
                                f'{expected[0]} {expected[1]}')

    def _damaged(self, name: str, how: str) -> ValueError:
        return ValueError(f'{self.folder / name} is damaged: {how}. Remove this file and run tools/extract_tokens.py '
                          'again, which writes the lost samples.')

    def _check(self, name: str) -> None:
        expected, found = self._index['shards'][name]['sha256'], file_sha256(self._path(name))
        if found != expected:
            raise self._damaged(name, f'its sha256 is {found}, and the index says {expected}')

    def _path(self, name: str) -> Path:
        path = self.folder / name
        if path.is_symlink():
            raise ValueError(f'The shard {path} is a link to {path.readlink()}. A cache from elsewhere must not choose '
                             'what is read: put the file itself there. (The folder of a cache may be a link.)')
        if not path.is_file():
            raise FileNotFoundError(f'The shard {path}, which the index of the cache names, is gone. Run '
                                    'tools/extract_tokens.py again, which writes the lost samples.')
        return path

    def __getstate__(self) -> dict:
        return dict(self.__dict__, _files={})  # open files do not travel to other processes


def _sha256_of_whole(path: str | Path) -> str:
    """As :func:`file_sha256`, of files so large that one process should read them once, not for each data set."""
    state = Path(path).stat()
    return _sha256_by_state(str(path), state.st_mtime_ns, state.st_size, state.st_ino)


@lru_cache(maxsize=8)
def _sha256_by_state(path: str, *state: int) -> str:
    return file_sha256(path)
