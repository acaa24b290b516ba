"""The cache by itself: what it holds, what a kill leaves, damage, and what it must not be taken for."""
from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from safetensors.torch import load_file

from scene_qformer.token_cache import Provenance, StaleTokenCacheError, TokenCache, TokenCacheWriter

PROVENANCE = Provenance('queries', 'float32', 'a.py', dict(model=dict(num_queries=3)), 'a.pth', 'f' * 64, 'e' * 64)
SAMPLES = [f'sample{number}' for number in range(7)]


def tokens_of(sample: str) -> torch.Tensor:
    return torch.arange(15.).reshape(3, 5) + int(sample[-1]) / 7


@pytest.fixture
def info_file(tmp_path: Path) -> Path:
    (tmp_path / 'infos.pkl').write_bytes(b'seven frames')
    return tmp_path / 'infos.pkl'


@pytest.fixture
def write(tmp_path: Path, info_file: Path):
    """Write what a cache lacks of some samples; returns what was missing."""
    def write(samples=SAMPLES, provenance=PROVENANCE, split='val', folder=tmp_path / 'cache', **options) -> list[str]:
        with TokenCacheWriter(folder, provenance, shard_size=3, **options) as writer:
            writer.begin(split, info_file, len(SAMPLES))
            missing = writer.missing(samples)
            for sample in missing:
                writer.add(sample, tokens_of(sample))
        return missing
    return write


def index_of(folder: Path) -> dict:
    return json.loads((folder / 'index.json').read_text())


def test_what_is_written_is_read(write, tmp_path: Path):
    assert write() == SAMPLES
    cache = TokenCache(tmp_path / 'cache')
    assert list(cache) == SAMPLES and len(cache) == 7 and cache.shape == (3, 5) and cache.space == 'queries'
    for sample in SAMPLES:
        torch.testing.assert_close(cache[sample], tokens_of(sample), rtol=0, atol=0)
    cache.verify_all()
    index = index_of(tmp_path / 'cache')
    assert {name: shard['frames'] for name, shard in index['shards'].items()} == {
        'val-00000.safetensors': 3, 'val-00001.safetensors': 3, 'val-00002.safetensors': 1}
    assert index['samples']['sample3'] == 'val-00001.safetensors'
    assert index['data']['val']['frames'] == 7
    assert list(load_file(tmp_path / 'cache/val-00001.safetensors')) == SAMPLES[3:6]


def test_a_reader_travels_to_other_processes(write, tmp_path: Path):
    write()
    cache = TokenCache(tmp_path / 'cache')
    first = cache['sample0']
    torch.testing.assert_close(pickle.loads(pickle.dumps(cache))['sample0'], first)


def test_a_second_split_and_more_frames_join(write, tmp_path: Path):
    write(SAMPLES[:2], split='train')
    before = (tmp_path / 'cache/train-00000.safetensors').stat().st_mtime_ns
    assert write(SAMPLES) == SAMPLES[2:]
    assert (tmp_path / 'cache/train-00000.safetensors').stat().st_mtime_ns == before
    cache = TokenCache(tmp_path / 'cache')
    assert all(torch.equal(cache[sample], tokens_of(sample)) for sample in SAMPLES)


def test_samples_before_an_error_are_kept(tmp_path: Path, info_file: Path, write):
    with pytest.raises(KeyboardInterrupt), TokenCacheWriter(tmp_path / 'cache', PROVENANCE, 3) as writer:
        writer.begin('val', info_file, 7)
        for sample in SAMPLES[:5]:
            writer.add(sample, tokens_of(sample))
        raise KeyboardInterrupt
    assert write() == SAMPLES[5:]


def test_a_shard_that_the_index_does_not_name_yet_is_taken_in(write, tmp_path: Path):
    """As after a kill between the shard's renaming and the index's."""
    write(SAMPLES[:6])
    index = index_of(tmp_path / 'cache')
    del index['shards']['val-00001.safetensors']
    index['samples'] = {sample: shard for sample, shard in index['samples'].items() if '00000' in shard}
    (tmp_path / 'cache/index.json').write_text(json.dumps(index))
    assert write() == ['sample6']
    assert TokenCache(tmp_path / 'cache').keys() == set(SAMPLES)


def test_without_its_index_a_cache_is_whole_again(write, tmp_path: Path):
    """As after a kill within the first shard's writing of the index."""
    write()
    (tmp_path / 'cache/index.json').unlink()
    assert write() == []
    assert TokenCache(tmp_path / 'cache').shape == (3, 5)


def test_a_partial_shard_is_thrown_away(write, tmp_path: Path):
    write(SAMPLES[:3])
    partial = tmp_path / 'cache/.val-00001.safetensors.3fa91c07.partial'
    partial.write_bytes(b'cut sho')
    assert write() == SAMPLES[3:]
    assert not partial.exists() and TokenCache(tmp_path / 'cache').keys() == set(SAMPLES)


@pytest.mark.parametrize('place', [1, 20, -1])  # the header's length, the header, the last value
def test_a_flipped_bit_is_detected(write, tmp_path: Path, place: int):
    write()
    path = tmp_path / 'cache/val-00001.safetensors'
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)
    cache = TokenCache(tmp_path / 'cache')
    cache['sample0']  # another shard
    with pytest.raises(ValueError, match='val-00001.safetensors is damaged: its sha256 is .* and the index says'):
        cache['sample4']
    with pytest.raises(ValueError, match='is damaged'):
        TokenCache(tmp_path / 'cache').verify_all()
    path.unlink()  # what the error advises
    with pytest.raises(FileNotFoundError, match='which the index of the cache names, is gone'):
        TokenCache(tmp_path / 'cache')['sample4']
    assert write() == SAMPLES[3:6]
    cache = TokenCache(tmp_path / 'cache')
    assert all(torch.equal(cache[sample], tokens_of(sample)) for sample in SAMPLES)


def test_unverified_reading_is_a_choice(write, tmp_path: Path):
    write()
    path = tmp_path / 'cache/val-00001.safetensors'
    content = bytearray(path.read_bytes())
    content[-1] ^= 4
    path.write_bytes(content)
    assert not torch.equal(TokenCache(tmp_path / 'cache', verify=False)['sample5'], tokens_of('sample5'))


def test_dtypes(write, tmp_path: Path):
    for dtype in ('float16', 'bfloat16'):
        provenance = Provenance(**dict(vars(PROVENANCE), dtype=dtype))
        write(provenance=provenance, folder=tmp_path / dtype)
        read = TokenCache(tmp_path / dtype)['sample5']
        assert read.dtype == getattr(torch, dtype)
        torch.testing.assert_close(read, tokens_of('sample5').to(read.dtype), rtol=0, atol=0)


def test_values_that_cannot_be_held_are_refused(tmp_path: Path, info_file: Path):
    half = Provenance(**dict(vars(PROVENANCE), dtype='float16'))
    with TokenCacheWriter(tmp_path / 'cache', half) as writer:
        writer.begin('val', info_file, 7)
        with pytest.raises(ValueError, match='sample0 are not finite in float16 .largest value 70000.*use bfloat16'):
            writer.add('sample0', torch.full((3, 5), 7e4))
        with pytest.raises(ValueError, match='sample0 are not finite in float16 .*the model gives NaN'):
            writer.add('sample0', torch.full((3, 5), float('nan')))
        with pytest.raises(ValueError, match=r'Expected tokens \(3, 5\), as of the other samples, got \(4, 5\)'):
            writer.add('sample0', torch.zeros(4, 5))


OTHERS = {
    'settings': (dict(settings=dict(model=dict(num_queries=4))), 'model.num_queries: 3 there, 4 here'),
    'weights': (dict(weights_sha256='d' * 64, checkpoint='b.pth'), 'weights: of a.pth there, of b.pth here'),
    'space': (dict(space='tokens'), 'space: queries there, tokens here'),
    'dtype': (dict(dtype='float16'), 'dtype: float32 there, float16 here'),
}


@pytest.mark.parametrize('what', OTHERS)
def test_another_cache_is_not_mixed_in(write, tmp_path: Path, what: str):
    write()
    change, message = OTHERS[what]
    other = Provenance(**{**vars(PROVENANCE), **change})
    with pytest.raises(StaleTokenCacheError, match=f'holds a cache of something else:\n  {message}'):
        write(provenance=other)
    assert TokenCache(tmp_path / 'cache').provenance == PROVENANCE
    (tmp_path / 'cache/notes.txt').write_text('mine')
    assert write(SAMPLES[:2], provenance=other, overwrite=True) == SAMPLES[:2]
    assert TokenCache(tmp_path / 'cache').provenance == other
    assert sorted(path.name for path in (tmp_path / 'cache').iterdir() if path.name[0] != '.') == [
        'index.json', 'notes.txt', 'val-00000.safetensors']


def test_the_same_weights_in_another_file_are_the_same(write):
    write()
    moved = Provenance(**dict(vars(PROVENANCE), checkpoint='later.pth', checkpoint_sha256='0' * 64, config='b.py'))
    assert write(provenance=moved) == []


def test_frames_of_another_data_set_are_not_mixed_in(write, info_file: Path, tmp_path: Path):
    write(split='train', samples=SAMPLES[:1])
    write()
    info_file.write_bytes(b'other frames')
    with pytest.raises(StaleTokenCacheError, match="holds the split 'val' of another data set: of .*infos.pkl with 7"):
        write()
    assert write(overwrite=True) == SAMPLES[1:]
    assert TokenCache(tmp_path / 'cache').keys() == set(SAMPLES)


def test_strange_shards_are_left_alone(write, tmp_path: Path):
    (tmp_path / 'cache').mkdir()
    strange = tmp_path / 'cache/weights.safetensors'
    strange.write_bytes(b'no shard')
    for options in ({}, dict(overwrite=True)):
        with pytest.raises(ValueError, match='weights.safetensors is no shard of this cache'):
            write(**options)
    assert strange.read_bytes() == b'no shard'


def test_two_writers_are_one_too_many(tmp_path: Path):
    with TokenCacheWriter(tmp_path / 'cache', PROVENANCE), \
            pytest.raises(RuntimeError, match='Another process writes'), \
            TokenCacheWriter(tmp_path / 'cache', PROVENANCE):
        pass
    with TokenCacheWriter(tmp_path / 'cache', PROVENANCE):  # the first has ended
        pass


def test_errors_of_reading(write, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match='no token cache in .*nowhere.*\n.*extract_tokens.py'):
        TokenCache(tmp_path / 'nowhere')
    write(SAMPLES[:2])
    with pytest.raises(LookupError, match=r'holds 2 samples, of val \(7 frames\), but not sample sample5'):
        TokenCache(tmp_path / 'cache')['sample5']
    (tmp_path / 'cache/index.json').write_text('{"format": 99}')
    with pytest.raises(ValueError, match='no index of a token cache of format 1: format 99, lacking checkpoint'):
        TokenCache(tmp_path / 'cache')
    (tmp_path / 'cache/index.json').write_text('{"form')
    with pytest.raises(ValueError, match='Cannot read the index .*index.json as JSON'):
        TokenCache(tmp_path / 'cache')


def test_wrong_choices_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match='shard size of at least 1 sample, got 0'):
        TokenCacheWriter(tmp_path, PROVENANCE, 0)
    with pytest.raises(ValueError, match="Expected one of the spaces queries, tokens, got 'pixels'"):
        Provenance.of(Config(), 'a.pth', 'pixels', 'float32')
    with pytest.raises(ValueError, match="Expected dtype float32, float16 or bfloat16, got 'int99'"):
        Provenance.of(Config(), 'a.pth', 'queries', 'int99')


def test_overwriting_removes_shards_of_a_cache_whose_index_is_gone(write, tmp_path: Path):
    """A kill may leave a shard that no index names; another cache is to take its place."""
    write()
    (tmp_path / 'cache/index.json').unlink()
    other = Provenance(**dict(vars(PROVENANCE), weights_sha256='d' * 64))
    with pytest.raises(ValueError, match='val-00000.safetensors is no shard of this cache.*--overwrite'):
        write(provenance=other)
    assert write(SAMPLES[:2], provenance=other, overwrite=True) == SAMPLES[:2]
    assert TokenCache(tmp_path / 'cache').keys() == set(SAMPLES[:2])
    assert [path.name for path in (tmp_path / 'cache').glob('*.safetensors')] == ['val-00000.safetensors']


@pytest.mark.parametrize('place', ['values', 'names', 'digest'])
def test_without_its_index_a_damaged_shard_is_not_taken_in(write, tmp_path: Path, place: str):
    write()
    (tmp_path / 'cache/index.json').unlink()
    path = tmp_path / 'cache/val-00001.safetensors'
    content = bytearray(path.read_bytes())
    places = dict(values=-1, names=content.index(b'sample4') + 6, digest=content.index(b'values_sha256') + 3)
    content[places[place]] ^= 4
    path.write_bytes(content)
    with pytest.raises(ValueError, match='val-00001.safetensors is no shard of this cache.* or is damaged. Remove it'):
        write()
    path.unlink()
    assert write() == SAMPLES[3:6]
    cache = TokenCache(tmp_path / 'cache')
    assert all(torch.equal(cache[sample], tokens_of(sample)) for sample in SAMPLES)
