"""A disk that is full, or fails, while checkpoints or token caches are written. A really full one: test_kills.py."""
import builtins
import errno
import os
import re
import shutil

import pytest
import torch

from scene_qformer import durable_file
from scene_qformer.durable_file import NotWrittenError, write_with_digest
from scene_qformer.token_cache import Provenance, TokenCache, TokenCacheWriter

CHECKPOINTS, CACHES = 'Checkpoints', 'Token caches'
PROVENANCE = Provenance('queries', 'float32', 'a.py', dict(model=dict(type='x')), 'a.pth', 'a' * 64, 'b' * 64)
FIRST = 'val-00000.safetensors'
# Which write finds the disk full, of what, and which samples the next call has to compute.
FULL_AT = {
    'the index, at first': (0, 'index.json', 'cde'), 'the index, of a split': (1, 'index.json', 'cde'),
    'a shard': (2, 'val-00001.safetensors', 'cde'), 'the index, of a shard': (3, 'index.json', 'e'),
    'the last shard': (4, 'val-00002.safetensors', 'e'), 'the index, of the last shard': (5, 'index.json', '')}


class FullDisk:
    """Files that take so many bytes in all; then the disk is full."""

    def __init__(self, room):
        self.room = room

    def open(self, path, mode='r'):
        disk, file = self, builtins.open(path, mode)  # noqa: SIM115

        class File:
            def __enter__(self):
                return self

            def __exit__(self, *error):
                file.close()

            def __getattr__(self, name):
                return getattr(file, name)

            def write(self, content):
                file.write(content[:max(disk.room, 0)])
                disk.room -= len(content)
                if disk.room < 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        return File()


@pytest.mark.fault(area=CHECKPOINTS, fault='the disk is full while a checkpoint is written',
                   expected='said; what was there is intact; nothing half is left',
                   remedy='Make room, or keep fewer checkpoints (default_hooks.checkpoint.max_keep_ckpts), then '
                   '--resume.')
@pytest.mark.parametrize('old', [True, False], ids=['replaced', 'new'])
@pytest.mark.parametrize('room', [0, 1, 499, 999, 1000, 1030, 1077])
def test_full_disk(room, old, tmp_path, monkeypatch, show):
    path = tmp_path / 'epoch_3.pth'
    if old:
        write_with_digest(path, b'the old one')
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    monkeypatch.setattr(durable_file, 'open', FullDisk(room).open, raising=False)
    with pytest.raises(NotWrittenError, match=r'epoch_3.pth could not be written \(No space left on device\)') as error:
        write_with_digest(path, bytes(1000))
    show(re.sub(r'[\d,]*\d bytes', 'N bytes', str(error.value)))
    assert '1,078 bytes are needed' in str(error.value) and error.value.errno == errno.ENOSPC
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.fault(area=CHECKPOINTS, fault='the disk fails when a file is flushed, renamed or its folder is flushed',
                   expected='said; nothing half is left', remedy='See what the system says of the disk; then --resume.')
@pytest.mark.parametrize(('function', 'call'), [('fsync', 1), ('fsync', 2), ('fsync', 3), ('replace', 1)])
@pytest.mark.parametrize('code', [errno.EIO, errno.EDQUOT, errno.EROFS])
def test_failing_disk(function, call, code, tmp_path, monkeypatch, show):
    path, original, calls = tmp_path / 'epoch_3.pth', getattr(os, function), []

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) == call:
            raise OSError(code, os.strerror(code))
        return original(*arguments)

    monkeypatch.setattr(os, function, failing)
    with pytest.raises(NotWrittenError, match=re.escape(os.strerror(code))) as error:
        write_with_digest(path, bytes(1000))
    show(re.sub(r'[\d,]*\d bytes', 'N bytes', str(error.value)))
    assert not list(tmp_path.glob('.*'))


@pytest.mark.fault(area=CHECKPOINTS, fault='a disk fails, and does not tell how full it is', expected='said',
                   remedy='See what the system says of the disk; then --resume.')
def test_a_disk_that_is_gone(tmp_path, monkeypatch, show):
    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, 'replace', fail)
    monkeypatch.setattr(shutil, 'disk_usage', fail)
    with pytest.raises(NotWrittenError, match='how much is free there cannot be told') as error:
        write_with_digest(tmp_path / 'epoch_3.pth', bytes(1000))
    show(re.sub(r'[\d,]*\d bytes', 'N bytes', str(error.value)))


@pytest.mark.fault(area=CHECKPOINTS, fault='the work directory cannot be written to', expected='said',
                   remedy='Name another --work-dir.')
@pytest.mark.parametrize('place', ['file/epoch_3.pth', 'folder.pth'])
def test_no_such_place(place, tmp_path, show):
    (tmp_path / 'file').write_text('a file where a folder is to be')
    (tmp_path / 'folder.pth').mkdir()
    with pytest.raises(NotWrittenError, match='could not be written') as error:
        write_with_digest(tmp_path / place, b'content')
    show(re.sub(r'[\d,]*\d bytes', 'N bytes', str(error.value)))
    assert (tmp_path / 'file').read_text().startswith('a file') and (tmp_path / 'folder.pth').is_dir()


def write(folder, samples, masked=()):
    """As tools/extract_tokens.py does; the samples that were missing."""
    with TokenCacheWriter(folder, PROVENANCE, shard_size=2) as writer:
        writer.begin('val', folder.parent / 'infos.pkl', frames=5)
        missing = writer.missing(list(samples))
        for sample in missing:
            writer.add(sample, torch.arange(15.).reshape(3, 5) + ord(sample),
                       dict(CAM_BACK='the file\nis gone') if sample in masked else None)
    return ''.join(missing)


def note(sample):
    return f'{sample} CAM_BACK: the file is gone\n'


@pytest.fixture
def cache(tmp_path):
    """The folder of a cache with a shard of two samples."""
    (tmp_path / 'infos.pkl').write_bytes(b'infos')
    assert write(tmp_path / 'cache', 'ab') == 'ab'
    return tmp_path / 'cache'


@pytest.mark.fault(area=CACHES, fault='the disk is full while a shard or the index is written',
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


@pytest.mark.fault(area=CACHES, fault='the disk is full while masked cameras are noted',
                   expected='said; no tokens are written without the note, and the same command goes on',
                   remedy='Make room, then run the same command of tools/extract_tokens.py.')
def test_notes(cache, monkeypatch, show):
    (cache / 'val-masked_cameras.txt').write_text(note('a'))
    disk = FullDisk(5)

    def full(path, mode='r'):
        return disk.open(path, mode) if 'masked_cameras' in str(path) else open(path, mode)

    monkeypatch.setattr(durable_file, 'open', full, raising=False)
    with pytest.raises(NotWrittenError, match=r'val-masked_cameras.txt could not be written \(No space left') as error:
        write(cache, 'abcd', masked='cd')
    show(re.sub(r'[\d,]*\d bytes', 'N bytes', str(error.value)))
    notes = cache / 'val-masked_cameras.txt'
    assert notes.read_text() == note('a') and sorted(TokenCache(cache)) == ['a', 'b']
    monkeypatch.undo()
    assert write(cache, 'abcd', masked='cd') == 'cd'
    assert write(cache, 'abcde', masked='cde') == 'e'
    assert notes.read_text() == ''.join(map(note, 'acde'))


def test_notes_stand_once_after_a_kill(cache, monkeypatch):
    """One between the notes and the shard: the frames are noted again."""
    def killed(path, content, remedy):
        durable_file.write_durably(path, content, remedy)
        raise KeyboardInterrupt

    monkeypatch.setattr('scene_qformer.token_cache.writer.write_durably', killed)
    with pytest.raises(KeyboardInterrupt):
        write(cache, 'abcd', masked='cd')
    monkeypatch.undo()
    assert sorted(TokenCache(cache)) == ['a', 'b']
    assert write(cache, 'abcd', masked='cd') == 'cd'
    assert (cache / 'val-masked_cameras.txt').read_text() == note('c') + note('d')


def test_notes_of_a_camera_that_was_repaired(cache):
    """Its frame is computed anew, after the user removed the shard."""
    write(cache, 'abcd', masked='cd')
    with open(cache / 'val-masked_cameras.txt', 'a') as file:  # as it was written at first
        file.write('Camera CAM_BACK of sample c is masked: the file is gone\n')
    (cache / 'val-00001.safetensors').unlink()
    assert write(cache, 'abcd', masked='d') == 'cd'
    assert (cache / 'val-masked_cameras.txt').read_text() == note('d')
