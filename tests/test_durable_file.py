import errno
import hashlib
import os
import stat
import subprocess

import pytest
from mmengine.fileio import get_file_backend
from mmengine.runner import save_checkpoint

from scene_qformer import durable_file
from scene_qformer.durable_file import check_digest, remove_with_digest, write_durably, write_with_digest
from scene_qformer.engine import DurableBackend, NotWrittenError


def test_digest_is_what_sha256sum_reads(tmp_path):
    write_with_digest(tmp_path / 'new folder' / 'epoch_3.pth', b'content')
    beside = tmp_path / 'new folder' / 'epoch_3.pth.sha256'
    assert beside.read_text() == f'{hashlib.sha256(b"content").hexdigest()}  epoch_3.pth\n'
    assert subprocess.run(['sha256sum', '-c', beside.name], cwd=beside.parent, capture_output=True).returncode == 0
    check_digest(tmp_path / 'new folder' / 'epoch_3.pth')


def test_written_anew(tmp_path):
    path = tmp_path / 'epoch_3.pth'
    write_with_digest(path, b'one')
    write_with_digest(path, b'another')
    check_digest(path)
    assert path.read_bytes() == b'another' and len(list(tmp_path.iterdir())) == 2
    remove_with_digest(path)
    assert not list(tmp_path.iterdir())


def test_order_in_which_names_are_given(tmp_path, monkeypatch):
    """At no time does a file lie beside the digest of another, and all is flushed before the first name is given."""
    path, done = tmp_path / 'epoch_3.pth', []
    write_with_digest(path, b'one')
    for name in ('fsync', 'replace'):
        original = getattr(os, name)

        def noted(*arguments, name=name, original=original):
            original(*arguments)
            check_digest(path)
            done.append(name)

        monkeypatch.setattr(os, name, noted)
    write_with_digest(path, b'another')
    assert done == ['fsync', 'fsync', 'replace', 'replace', 'fsync']


@pytest.mark.parametrize('stop', [KeyboardInterrupt, MemoryError])
def test_nothing_half_is_left(stop, tmp_path, monkeypatch):
    write_durably(tmp_path / 'last_checkpoint', b'old')

    def stopped(descriptor):
        raise stop

    monkeypatch.setattr(durable_file.os, 'fsync', stopped)
    with pytest.raises(stop):
        write_durably(tmp_path / 'last_checkpoint', b'new')
    assert (tmp_path / 'last_checkpoint').read_bytes() == b'old' and len(list(tmp_path.iterdir())) == 1


def test_two_processes_write_one_file(tmp_path, monkeypatch):
    """The second begins while the first writes: both end well, and the file is whole."""
    path, flush, inner = tmp_path / 'infos.pkl', os.fsync, []

    def interrupted(descriptor):
        flush(descriptor)
        if not inner:
            inner.append(1)
            write_durably(path, b'of the second')
            assert path.read_bytes() == b'of the second'

    monkeypatch.setattr(durable_file.os, 'fsync', interrupted)
    write_durably(path, b'of the first, and longer')
    assert path.read_bytes() == b'of the first, and longer' and len(list(tmp_path.iterdir())) == 1


def test_leftovers_go_when_nobody_can_be_at_work_on_them(tmp_path):
    old, young, other = (tmp_path / name for name in (
        '.infos[1].pkl.3fa91c07.partial', '.infos[1].pkl.00000000.partial', '.infos1.pkl.3fa91c07.partial'))
    for path in (old, young, other):
        path.write_bytes(b'half')
    for path in (old, other):
        os.utime(path, (0, 0))
    write_durably(tmp_path / 'infos[1].pkl', b'whole')
    assert not old.exists() and young.exists() and other.exists()


def test_mmengine_writes_through_it(tmp_path):
    assert type(get_file_backend(str(tmp_path))) is DurableBackend
    save_checkpoint(dict(state_dict={}), str(tmp_path / 'model.pth'))
    check_digest(tmp_path / 'model.pth')
    backend = get_file_backend(str(tmp_path))
    backend.put_text('text', tmp_path / 'note.txt')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['model.pth', 'model.pth.sha256', 'note.txt']
    backend.remove(tmp_path / 'model.pth')
    backend.remove(tmp_path / 'note.txt')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(('code', 'tolerated'), [
    (errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EBADF, True), (errno.EACCES, True), (errno.EIO, False),
    (errno.ENOSPC, False), (errno.ENOENT, False)])
@pytest.mark.parametrize('function', ['open', 'fsync'])
def test_a_file_system_that_cannot_flush_folders(function, code, tolerated, tmp_path, monkeypatch):
    original = getattr(os, function)

    def failing(what, *arguments):
        if what == tmp_path or function == 'fsync' and stat.S_ISDIR(os.fstat(what).st_mode):
            raise OSError(code, os.strerror(code))
        return original(what, *arguments)

    monkeypatch.setattr(durable_file.os, function, failing)
    if tolerated:
        write_durably(tmp_path / 'last_checkpoint', b'content')
    else:
        with pytest.raises(NotWrittenError):
            write_durably(tmp_path / 'last_checkpoint', b'content')
    monkeypatch.undo()
    assert (tmp_path / 'last_checkpoint').read_bytes() == b'content'
