"""A disk that is full while a token cache is written. Of checkpoints: test_checkpoints.py."""
import errno
import re

import pytest
import torch

from scene_qformer import durable_file
from scene_qformer.durable_file import NotWrittenError
from scene_qformer.token_cache import Provenance, TokenCache, TokenCacheWriter
from tests.faults.test_checkpoints import FullDisk

PROVENANCE = Provenance('queries', 'float32', 'a.py', dict(model=dict(type='x')), 'a.pth', 'a' * 64, 'b' * 64)
FIRST = 'val-00000.safetensors'
# Which write finds the disk full, of what, and which samples the next call has to compute.
FULL_AT = {
    'the index, at first': (0, 'index.json', 'cde'), 'the index, of a split': (1, 'index.json', 'cde'),
    'a shard': (2, 'val-00001.safetensors', 'cde'), 'the index, of a shard': (3, 'index.json', 'e'),
    'the last shard': (4, 'val-00002.safetensors', 'e'), 'the index, of the last shard': (5, 'index.json', '')}


def write(folder, samples):
    """As tools/extract_tokens.py does; the samples that were missing."""
    with TokenCacheWriter(folder, PROVENANCE, shard_size=2) as writer:
        writer.begin('val', folder.parent / 'infos.pkl', frames=5)
        missing = writer.missing(list(samples))
        for sample in missing:
            writer.add(sample, torch.arange(15.).reshape(3, 5) + ord(sample))
    return ''.join(missing)


@pytest.fixture
def cache(tmp_path):
    """The folder of a cache with a shard of two samples."""
    (tmp_path / 'infos.pkl').write_bytes(b'infos')
    assert write(tmp_path / 'cache', 'ab') == 'ab'
    return tmp_path / 'cache'


@pytest.mark.fault(area='Token caches', fault='the disk is full while a shard or the index is written',
                   expected='said; all that was there is intact, and the same command goes on',
                   remedy='Make room, then run the same command of tools/extract_tokens.py.')
@pytest.mark.parametrize('room', [0, 40])
@pytest.mark.parametrize('where', FULL_AT)
def test_token_cache(where, room, cache, monkeypatch, show):
    number, name, missing = FULL_AT[where]
    before, opened, disk = (cache / FIRST).read_bytes(), [], FullDisk(room)

    def full(path, mode='r'):
        if mode == 'wb':
            opened.append(path)
        return disk.open(path, mode) if mode == 'wb' and len(opened) > number else open(path, mode)

    monkeypatch.setattr(durable_file, 'open', full, raising=False)
    with pytest.raises(NotWrittenError, match=rf'{name} could not be written \(No space left on device\)') as error:
        write(cache, 'abcde')
    assert error.value.errno == errno.ENOSPC and type(error.value.__context__) is OSError
    assert len(opened) == number + 1, 'the full disk was tried once more'
    show(re.sub(r'[\d,]*\d bytes', 'N bytes', str(error.value)))
    assert (cache / FIRST).read_bytes() == before and not list(cache.glob('.*.partial'))
    assert TokenCache(cache)['a'][0, 0] == ord('a')
    monkeypatch.undo()
    assert write(cache, 'abcde') == missing
    assert sorted(TokenCache(cache)) == list('abcde') and TokenCache(cache)['e'][0, 0] == ord('e')
