import errno
import io
import os

import pytest
import torch

from scene_qformer.engine import find_whole_checkpoint, safe_checkpoint
from scene_qformer.engine.whole_checkpoint import set_aside


def write(path, age, whole=True):
    path.parent.mkdir(exist_ok=True)
    torch.save(dict(meta={}, optimizer={}), path) if whole else path.write_bytes(b'torn')
    os.utime(path, (1000 - age, 1000 - age))
    return path


def note(folder, path, age):
    (folder / 'last_checkpoint').write_text(str(path))
    os.utime(folder / 'last_checkpoint', (1000 - age, 1000 - age))


def test_nothing_there(tmp_path):
    assert find_whole_checkpoint(tmp_path / 'new') == (None, {}, {})


def test_what_is_noted(tmp_path):
    write(tmp_path / 'epoch_24.pth', age=50)  # of an earlier training in this folder
    chosen = write(tmp_path / 'epoch_3.pth', age=5)
    note(tmp_path, chosen, age=4)
    assert find_whole_checkpoint(tmp_path) == (chosen, {}, {})


def test_written_after_the_note(tmp_path):
    note(tmp_path, write(tmp_path / 'epoch_3.pth', age=5), age=4)
    chosen = write(tmp_path / 'epoch_4.pth', age=1)
    assert find_whole_checkpoint(tmp_path)[0] == chosen


def test_a_copied_folder_has_times_that_mean_nothing(tmp_path):
    write(tmp_path / 'epoch_2.pth', age=4)
    chosen = write(tmp_path / 'epoch_3.pth', age=5)
    note(tmp_path, '/where/it/was/trained/epoch_3.pth', age=3)
    assert find_whole_checkpoint(tmp_path)[0] == chosen


def test_before_a_torn_one(tmp_path):
    write(tmp_path / 'epoch_24.pth', age=50)
    chosen = write(tmp_path / 'epoch_2.pth', age=9)
    torn = write(tmp_path / 'epoch_3.pth', age=5, whole=False)
    note(tmp_path, torn, age=4)
    found = find_whole_checkpoint(tmp_path)
    assert found.path == chosen and 'epoch_3.pth cannot be read' in found.torn[torn] and not found.passed_over


def test_weights_alone_are_whole(tmp_path):
    chosen = write(tmp_path / 'epoch_2.pth', age=9)
    weights = tmp_path / 'epoch_3.pth'
    torch.save(dict(meta={}, state_dict={}), weights)
    found = find_whole_checkpoint(tmp_path)
    assert found.path == chosen and not found.torn and 'save_optimizer=False' in found.passed_over[weights]


class FailingDisk(io.FileIO):
    """A file whose system call fails once, some reads after the beginning."""

    reads, code = 0, errno.EIO

    def readinto(self, buffer):
        type(self).reads -= 1
        if self.reads == -1:
            raise OSError(self.code, os.strerror(self.code))
        return super().readinto(buffer)


@pytest.mark.parametrize('code', [errno.EIO, errno.EACCES, errno.ESTALE, errno.ENOMEM])
def test_a_disk_that_fails_says_nothing_of_what_it_holds(code, tmp_path, monkeypatch):
    """Whichever read it is: zipfile and PyTorch would call the file damaged."""
    write(tmp_path / 'epoch_2.pth', age=9)
    newest = write(tmp_path / 'epoch_3.pth', age=5)
    noting = type('Noting', (safe_checkpoint._NotingFile, FailingDisk), {})
    monkeypatch.setattr(safe_checkpoint, '_NotingFile', noting)
    noting.code = code
    for read in range(100):
        noting.reads = read
        try:
            assert find_whole_checkpoint(tmp_path).path == newest
            break
        except OSError as error:
            assert error.errno == code and 'epoch_3.pth' in str(error) and 'try again' in str(error)
    assert 2 < read < 99


@pytest.mark.parametrize('error', [OSError(errno.EIO, 'Input/output error'), MemoryError(), RuntimeError(
    "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes. Error code 12")], ids=repr)
def test_a_lack_that_comes_from_pytorch(error, tmp_path, monkeypatch):
    write(tmp_path / 'epoch_3.pth', age=5)

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(torch, 'load', fail)
    with pytest.raises(safe_checkpoint.NotReadError, match='epoch_3.pth.*try again'):
        find_whole_checkpoint(tmp_path)


def test_what_asks_for_more_memory_than_it_has_bytes_is_damaged(tmp_path, monkeypatch):
    path = write(tmp_path / 'epoch_3.pth', age=5)

    def fail(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000000000 bytes.")

    monkeypatch.setattr(torch, 'load', fail)
    with pytest.raises(ValueError, match='epoch_3.pth cannot be read as a checkpoint'):
        safe_checkpoint.load_from_safe_file(str(path))


def test_a_file_that_may_not_be_opened(tmp_path, monkeypatch):
    path = write(tmp_path / 'epoch_3.pth', age=5)

    def refuse(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    for place in ('_NotingFile', 'check_digest'):
        with monkeypatch.context() as patch:
            patch.setattr(safe_checkpoint, place, refuse)
            with pytest.raises(safe_checkpoint.NotReadError, match='Look after the disk, the network or the permis'):
                find_whole_checkpoint(tmp_path)


def test_in_another_folder(tmp_path):
    chosen = write(tmp_path / 'elsewhere' / 'iter_2.pth', age=9)
    note(tmp_path, write(tmp_path / 'elsewhere' / 'iter_4.pth', age=5, whole=False), age=4)
    assert find_whole_checkpoint(tmp_path)[0] == chosen


def test_best_and_published_ones_are_none(tmp_path):
    for name in ('best_mAP_epoch_3.pth', 'epoch_3-0123abcd.pth', 'model.pth', 'epoch_3.pth.torn'):
        write(tmp_path / name, age=1)
    assert find_whole_checkpoint(tmp_path) == (None, {}, {})


def test_a_folder_is_left_to_those_who_wrote_it(tmp_path):
    (tmp_path / 'epoch_3').mkdir()  # as DeepSpeed does
    note(tmp_path, tmp_path / 'epoch_3', age=4)
    assert find_whole_checkpoint(tmp_path)[0] == tmp_path / 'epoch_3'


def test_a_folder_that_was_being_written_is_passed_over(tmp_path):
    """Nobody looks inside, and ``last_checkpoint``, which is written after it, names the one before."""
    for name, age in (('iter_2.pth', 9), ('iter_4.pth', 1)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    note(tmp_path, tmp_path / 'iter_2.pth', age=5)
    found = find_whole_checkpoint(tmp_path)
    assert found.path == tmp_path / 'iter_2.pth' and not found.torn
    assert list(found.passed_over) == [tmp_path / 'iter_4.pth']
    assert 'newer than what last_checkpoint names' in found.passed_over[tmp_path / 'iter_4.pth']
    (tmp_path / 'last_checkpoint').unlink()  # then the newest is the best guess
    assert find_whole_checkpoint(tmp_path).path == tmp_path / 'iter_4.pth'


def test_what_is_set_aside_replaces_nothing(tmp_path):
    for expected in ('epoch_3.pth.torn', 'epoch_3.pth.torn-2', 'epoch_3.pth.torn-3'):
        path = write(tmp_path / 'epoch_3.pth', age=1, whole=False)
        (tmp_path / 'epoch_3.pth.sha256').write_text('digest')
        assert set_aside(path).name == expected
        assert (tmp_path / f'{expected}.sha256').is_file() and not (tmp_path / 'epoch_3.pth.sha256').exists()


def test_gone(tmp_path):
    note(tmp_path, tmp_path / 'epoch_3.pth', age=4)
    with pytest.raises(FileNotFoundError, match='remove last_checkpoint to start anew'):
        find_whole_checkpoint(tmp_path)
