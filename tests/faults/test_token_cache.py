"""Token caches whose index or shards lie."""
import copy
import hashlib
import json
import re
import struct

import pytest
import torch
from mmengine.config import Config

from scene_qformer.token_cache import Provenance, StaleTokenCacheError, TokenCache, TokenCacheWriter

AREA = 'Token caches'
ANEW = 'Remove the folder and extract the tokens anew: python tools/extract_tokens.py CONFIG CHECKPOINT --out FOLDER.'
SHARD_AGAIN = 'Remove the shard and run the same command of tools/extract_tokens.py: it writes the lost samples.'
SHARD = 'val-00000.safetensors'
PROVENANCE = Provenance('queries', 'float32', 'a.py', dict(model=dict(type='x')), 'a.pth', 'a' * 64, 'b' * 64)


@pytest.fixture
def cache(tmp_path):
    """The folder of a cache of two samples of (3, 5) numbers."""
    folder = tmp_path / 'cache'
    (tmp_path / 'infos.pkl').write_bytes(b'infos')
    with TokenCacheWriter(folder, PROVENANCE) as writer:
        writer.begin('val', tmp_path / 'infos.pkl', frames=2)
        for token in ('a', 'b'):
            writer.add(token, torch.arange(15.).reshape(3, 5))
    assert TokenCache(folder)['a'].shape == (3, 5)
    return folder


def change(folder, edit):
    """Edit the index."""
    path = folder / 'index.json'
    index = json.loads(path.read_text())
    edit(index)
    path.write_text(json.dumps(index))


def put(*keys_and_value):
    *keys, last, value = keys_and_value

    def edit(index):
        for key in keys:
            index = index[key]
        index[last] = value
    return edit


def rename(new):
    def edit(index):
        index['shards'] = {new: index['shards'][SHARD]}
        index['samples'] = dict.fromkeys(index['samples'], new)
    return edit


EDITS = {
    'format 2': put('format', 2), 'format true': put('format', '1'), 'another space': put('space', 'pixels'),
    'a type that runs code': put('dtype', 'load'), 'an integer type': put('dtype', 'int64'),
    'no shape': put('shape', None), 'a shape of text': put('shape', 'big'), 'a shape of one side': put('shape', [15]),
    'a shape of three sides': put('shape', [3, 5, 1]), 'a negative side': put('shape', [-3, -5]),
    'no side': put('shape', [0, 5]), 'half a side': put('shape', [1.5, 10]), 'a true side': put('shape', [True, 15]),
    'a huge shape': put('shape', [2 ** 40, 2 ** 40]), 'a huge side': put('shape', [3, 10 ** 18]),
    'no config': put('config', None), 'a config without path': put('config', dict(settings={})),
    'settings of text': put('config', 'settings', 'x'), 'a checkpoint of text': put('checkpoint', 'a.pth'),
    'a checkpoint of numbers': put('checkpoint', 'sha256', 7), 'data of a list': put('data', []),
    'a split of text': put('data', 'val', 'infos.pkl'), 'a split of minus frames': put('data', 'val', 'frames', -1),
    'a split of 2 ** 60 frames': put('data', 'val', 'frames', 2 ** 60),
    'shards of a list': put('shards', [SHARD]), 'a shard of text': put('shards', SHARD, 'x'),
    'a shard of another digest': put('shards', SHARD, 'sha256', '../x'),
    'a shard of no digest': put('shards', SHARD, {}),
    'a shard of too few frames': put('shards', SHARD, 'frames', 1),
    'a shard of 2 ** 60 frames': put('shards', SHARD, 'frames', 2 ** 60),
    'a shard of half a frame': put('shards', SHARD, 'frames', 2.0), 'samples of a list': put('samples', ['a', 'b']),
    'a sample of no shard': put('samples', 'a', 'val-00001.safetensors'),
    'a sample of a number': put('samples', 'a', 7),
    'a sample of a list': put('samples', 'a', [SHARD]),
    **{f'the shard {name}': rename(name) for name in (
        '../cache/val-00000.safetensors', '/etc/passwd', '/etc/x.safetensors', 'a/b.safetensors', '.x.safetensors',
        '..', '', 'x.pth', 'C:\\x.safetensors', 'http://localhost/x.safetensors', 'a\0.safetensors')},
}


SHOWN = {
    'format 2', 'no shape', 'a huge shape', 'an integer type', 'settings of text', 'a checkpoint of text',
    'a checkpoint of numbers', 'data of a list', 'a split of text', 'a split of minus frames', 'shards of a list',
    'a shard of text', 'a shard of another digest', 'a shard of too few frames', 'a shard of half a frame',
    'a sample of no shard', 'the shard /etc/passwd'}


@pytest.mark.fault(area=AREA, fault='an index that says something impossible',
                   expected='said which entry, before anything is opened', remedy=ANEW)
@pytest.mark.parametrize('name', EDITS)
def test_index(cache, show, name):
    change(cache, EDITS[name])
    for reader in (TokenCache, lambda folder: TokenCacheWriter(folder, PROVENANCE, overwrite=True).__enter__()):
        with pytest.raises(ValueError, match='The index .*index.json is damaged: expected|is no index of a') as caught:
            reader(cache)
    if name in SHOWN:
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='an index that makes the writer remove a file elsewhere',
                   expected='refused, and the file is there', remedy=ANEW)
@pytest.mark.parametrize('name', [
    '../precious.safetensors', '../../precious.safetensors', 'x/../../precious.safetensors'])
def test_removal(cache, show, tmp_path, name):
    precious = (cache / name).resolve() if 'x/' not in name else tmp_path / 'precious.safetensors'
    precious.write_text('precious')
    change(cache, rename(name))
    other = Provenance('tokens', 'float16', 'b.py', {}, 'b.pth', 'c' * 64, 'd' * 64)
    with pytest.raises(ValueError, match='a .safetensors file of the same folder'), \
            TokenCacheWriter(cache, other, overwrite=True):
        pass
    assert precious.read_text() == 'precious'
    precious.unlink()


@pytest.mark.fault(area=AREA, fault='an index that is no JSON', expected='said', remedy=ANEW)
@pytest.mark.parametrize('content', [
    b'', b'{', b'[]', b'7', b'null', b'\xff\xfe', b'[' * 10 ** 5, b'{"format": 1, "format": 1}', b'{"format": NaN}',
    b'{"format": ' + b'7' * 5000 + b'}', b'\x80\x04.'], ids=lambda content: repr(content[:12]))
def test_no_json(cache, show, content):
    (cache / 'index.json').write_bytes(content)
    with pytest.raises(ValueError, match='index.json') as caught:
        TokenCache(cache)
    show(caught.value)


def shard_of(header: dict | bytes, content: bytes = b'', length: int | None = None) -> bytes:
    """A safetensors file by hand: the header's length, the header, the content."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack('<Q', len(raw) if length is None else length) + raw + content


def tensor(shape=(3, 5), dtype='F32', begin=0, end=60):
    return dict(dtype=dtype, shape=list(shape), data_offsets=[begin, end])


SHARDS = {
    'nothing': b'', 'a length alone': struct.pack('<Q', 7), 'a header of 2 ** 62 bytes': shard_of({}, length=1 << 62),
    'a header longer than the file': shard_of({}, length=1000), 'a header that is no JSON': shard_of(b'{"a": '),
    'a header that is a list': shard_of(b'[]'), 'a header of another coding': shard_of(b'\xff\xfe{}'),
    'a header in a header': shard_of(b'[' * 10 ** 5), 'zeros': bytes(1000), 'a pickle': b'\x80\x04\x95' + bytes(60),
    'a shape too large': shard_of(dict(a=tensor((10 ** 6, 10 ** 6)), b=tensor(begin=60, end=120)), bytes(120)),
    'a shape that overflows': shard_of(dict(a=tensor((2 ** 62, 8)), b=tensor(begin=60, end=120)), bytes(120)),
    'a negative side': shard_of(dict(a=tensor((-3, -5)), b=tensor(begin=60, end=120)), bytes(120)),
    'an unknown type': shard_of(dict(a=tensor(dtype='CODE'), b=tensor(begin=60, end=120)), bytes(120)),
    'overlapping tensors': shard_of(dict(a=tensor(), b=tensor(begin=30, end=90)), bytes(120)),
    'a hole between tensors': shard_of(dict(a=tensor(), b=tensor(begin=90, end=150)), bytes(150)),
    'tensors behind the end': shard_of(dict(a=tensor(), b=tensor(begin=60, end=120)), bytes(60)),
    'offsets the wrong way round': shard_of(dict(a=tensor(begin=60, end=0), b=tensor()), bytes(60)),
    'more than the header says': shard_of(dict(a=tensor(), b=tensor(begin=60, end=120)), bytes(1000)),
    'another sample': shard_of(dict(c=tensor(), b=tensor(begin=60, end=120)), bytes(120)),
    'another shape': shard_of(dict(a=tensor((5, 3)), b=tensor(begin=60, end=120)), bytes(120)),
    'another type': shard_of(dict(a=tensor(dtype='I32'), b=tensor(begin=60, end=120)), bytes(120)),
    'no numbers': shard_of(dict(a=tensor((0, 5), begin=0, end=0), b=tensor()), bytes(60)),
}


@pytest.mark.fault(area=AREA, fault='a shard whose header lies, with its digest in the index',
                   expected='said, before memory is taken', remedy=SHARD_AGAIN)
@pytest.mark.parametrize('verify', [True, False])
@pytest.mark.parametrize('name', SHARDS)
def test_shards(cache, show, name, verify):
    (cache / SHARD).write_bytes(SHARDS[name])
    change(cache, put('shards', SHARD, 'sha256', hashlib.sha256(SHARDS[name]).hexdigest()))
    with pytest.raises(ValueError, match=f'{SHARD} is damaged: .*extract_tokens.py') as caught:
        TokenCache(cache, verify=verify)['a']
    if verify and name in ('nothing', 'another sample', 'another shape'):
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='a shard with other bytes than were written', expected='said', remedy=SHARD_AGAIN)
@pytest.mark.parametrize('place', [0, 7, 8, 20, 200, -60, -1])
def test_flipped(cache, show, place):
    content = bytearray((cache / SHARD).read_bytes())
    content[place] ^= 4
    (cache / SHARD).write_bytes(content)
    with pytest.raises(ValueError, match=f'{SHARD} is damaged: its sha256 is') as caught:
        TokenCache(cache)['a']
    if place == -1:
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='a shard that is a link to another file', expected='not followed', remedy=(
    'Put the file itself into the folder. The folder of a cache may be a link.'))
def test_links(cache, show, tmp_path):
    (cache / SHARD).rename(tmp_path / 'elsewhere.safetensors')
    (cache / SHARD).symlink_to(tmp_path / 'elsewhere.safetensors')
    with pytest.raises(ValueError, match='is a link to .*elsewhere') as caught:
        TokenCache(cache)['a']
    show(caught.value)
    (tmp_path / 'linked').symlink_to(cache)
    (cache / SHARD).unlink()
    (tmp_path / 'elsewhere.safetensors').rename(cache / SHARD)
    assert TokenCache(tmp_path / 'linked')['a'].shape == (3, 5)


WAY_OUT = 'Name another folder with --out, remove this one, or give --overwrite to replace what it holds.'


@pytest.mark.fault(area=AREA, fault='a folder that holds no cache', expected='said',
                   remedy='Correct the path; or write one: python tools/extract_tokens.py CONFIG CHECKPOINT --out '
                   'FOLDER.')
def test_no_cache(show, tmp_path):
    with pytest.raises(FileNotFoundError, match='There is no token cache in') as caught:
        TokenCache(tmp_path / 'nowhere')
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='a sample or a shard that the cache does not hold', expected='said',
                   remedy='Run the same command of tools/extract_tokens.py: it writes the missing samples.')
@pytest.mark.parametrize('what', ['sample', 'shard', 'anything'])
def test_lacking(cache, show, tmp_path, what):
    if what == 'shard':
        (cache / SHARD).unlink()
    if what == 'anything':
        cache = tmp_path / 'empty'
        with TokenCacheWriter(cache, PROVENANCE):
            pass
    with pytest.raises((LookupError, FileNotFoundError), match='but not sample|is gone') as caught:
        TokenCache(cache)['a' if what == 'shard' else 'c']
    show(caught.value.args[0])


@pytest.mark.fault(area=AREA, fault='frames or checkpoint have changed since the tokens were extracted',
                   expected='said what, before anything is trained on them', remedy='Extract the tokens anew, or state '
                   'the checkpoint that they were made from.')
@pytest.mark.parametrize('what', ['frames', 'checkpoint'])
def test_stale(cache, show, tmp_path, what):
    stated = {}
    if what == 'frames':
        (tmp_path / 'infos.pkl').write_bytes(b'others')
    else:
        torch.save(dict(state_dict={'backbone.weight': torch.zeros(2)}), tmp_path / 'b.pth')
        stated = dict(checkpoint=tmp_path / 'b.pth')
    with pytest.raises(StaleTokenCacheError, match='is stale: it was made from something else') as caught:
        TokenCache(cache).check_current(**stated)
    show(re.sub(r'[0-9a-f]{12}\.\.\.', 'SHA256', str(caught.value)))


@pytest.mark.fault(area=AREA, fault='a cache of other frames than those of the info file', expected='said which',
                   remedy='Correct ann_file in the config, or extract the tokens of that split: --split both.')
@pytest.mark.parametrize('empty', [False, True])
def test_other_frames(cache, show, tmp_path, empty):
    (tmp_path / 'others.pkl').write_bytes(b'others')
    if empty:
        cache = tmp_path / 'empty'
        with TokenCacheWriter(cache, PROVENANCE):
            pass
    with pytest.raises(StaleTokenCacheError, match='is not of the frames in .*others.pkl') as caught:
        TokenCache(cache).check_frames(tmp_path / 'others.pkl')
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='a checkpoint without an encoder', expected='said what it holds',
                   remedy='Give the checkpoint of the model that reads images.')
def test_no_encoder(show, tmp_path):
    torch.save(dict(state_dict={'language_model.x': torch.zeros(2)}), tmp_path / 'reader.pth')
    with pytest.raises(ValueError, match='reader.pth holds no weights that scene tokens come from') as caught:
        Provenance.of(Config(), tmp_path / 'reader.pth', 'queries', 'float32')
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='a setting of the extraction that makes no sense', expected='refused',
                   remedy='Correct the flag of tools/extract_tokens.py that the message names.')
@pytest.mark.parametrize('what', ['shard size', 'space', 'dtype'])
def test_settings(show, tmp_path, what):
    with pytest.raises(ValueError, match='Expected') as caught:
        if what == 'shard size':
            TokenCacheWriter(tmp_path, PROVENANCE, shard_size=0)
        else:
            Provenance.of(Config(), 'a.pth', **{**dict(space='queries', dtype='float32'), what: 'pixels'})
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='two extractions write into one folder', expected='the second is refused',
                   remedy='Let the first end, or name another folder with --out.')
def test_two_writers(show, tmp_path):
    with TokenCacheWriter(tmp_path / 'cache', PROVENANCE), \
            pytest.raises(RuntimeError, match='Another process writes') as caught, \
            TokenCacheWriter(tmp_path / 'cache', PROVENANCE):
        pass
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='the folder holds a cache of something else', expected='refused, and it is intact',
                   remedy=WAY_OUT)
@pytest.mark.parametrize('what', ['settings', 'frames', 'a shard', 'a file'])
def test_something_else(cache, show, tmp_path, what):
    provenance = PROVENANCE
    if what == 'settings':
        provenance = Provenance(**dict(vars(PROVENANCE), dtype='float16'))
    elif what == 'frames':
        (tmp_path / 'infos.pkl').write_bytes(b'others')
    elif what == 'a shard':
        (cache / 'index.json').unlink()
        provenance = Provenance(**dict(vars(PROVENANCE), weights_sha256='d' * 64))
    else:
        (cache / 'weights.safetensors').write_bytes(b'mine')
    before = {path.name: path.read_bytes() for path in cache.iterdir()}
    with pytest.raises((StaleTokenCacheError, ValueError), match='something else|of another data set') as caught, \
            TokenCacheWriter(cache, provenance) as writer:
        writer.begin('val', tmp_path / 'infos.pkl', frames=2)
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == before
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='tokens that the cache cannot hold', expected='refused, with the sample',
                   remedy='Look at the images of the sample; of large values: --dtype bfloat16.')
@pytest.mark.parametrize('tokens', [torch.zeros(4, 5), torch.full((3, 5), 7e4), torch.full((3, 5), float('nan'))],
                         ids=['another shape', 'too large', 'not finite'])
def test_tokens(show, tmp_path, tokens):
    (tmp_path / 'infos.pkl').write_bytes(b'infos')
    half = Provenance(**dict(vars(PROVENANCE), dtype='float16'))
    with TokenCacheWriter(tmp_path / 'cache', half) as writer:
        writer.begin('val', tmp_path / 'infos.pkl', frames=2)
        writer.add('a', torch.zeros(3, 5))
        with pytest.raises(ValueError, match='sample b') as caught:
            writer.add('b', tokens)
    show(caught.value)


def test_what_is_attacked_is_good(cache):
    """Else the errors could come from elsewhere."""
    good = shard_of(dict(a=tensor(), b=tensor(begin=60, end=120)), bytes(120))
    (cache / SHARD).write_bytes(good)
    change(cache, put('shards', SHARD, 'sha256', hashlib.sha256(good).hexdigest()))
    assert copy.deepcopy(TokenCache(cache)['a']).tolist() == [[0.] * 5] * 3
