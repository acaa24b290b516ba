"""Attacks on checkpoints: damaged files, digests and notes, failing disks, parts that cannot resume."""
import builtins
import errno
import os
import re
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import EpochBasedTrainLoop

from scene_qformer import durable_file
from scene_qformer.durable_file import write_durably, write_with_digest
from scene_qformer.engine import (
    ExactResumeHook,
    NotWrittenError,
    choose_checkpoint,
    find_whole_checkpoint,
    load_from_safe_file,
    require_weights,
    safe_checkpoint,
)
from scene_qformer.engine.exact_resume_hook import POSITION, WITHIN_EPOCH
from scene_qformer.engine.safe_checkpoint import NotReadError
from tests.engine.test_exact_resume import several_optimizers, step
from tests.engine.test_whole_checkpoint import FailingDisk
from tests.small_training import make_runner, train_on, train_until

AREA = 'Checkpoints'
EVERY_2 = dict(by_epoch=False, interval=2)


def without_numbers(error):
    """The part of a message that is the same for all damages of a kind."""
    text = re.sub(r'[0-9a-f]{12},', '<digest>,', str(error))
    return re.sub(r'as a checkpoint \(.*?\)', 'as a checkpoint (...)', re.sub(r'[\d,]*\d bytes', 'N bytes', text))


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A work directory with checkpoints of three epochs."""
    folder = tmp_path_factory.mktemp('trained')
    make_runner(folder, checkpoint=dict(interval=1)).train()
    return folder


@pytest.fixture
def work_dir(trained, tmp_path):
    """A copy that may be damaged."""
    for name in ('epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth'):
        write_with_digest(tmp_path / name, (trained / name).read_bytes())
    write_durably(tmp_path / 'last_checkpoint', str(tmp_path / 'epoch_3.pth').encode())
    return tmp_path


def damaged(content, how, part):
    """A file that is cut off, or has a changed bit or block, at a part of its length."""
    place = min(int(part * len(content)), len(content) - 1)
    if how == 'cut':
        return content[:place]
    changed = np.frombuffer(content, np.uint8).copy()
    if how == 'bit':
        changed[place] ^= 1
    else:
        changed[place:place + 512] ^= 0xFF
    return changed.tobytes()


PLACES = [0., 0.001, 0.05, 0.2, 0.37, 0.5, 0.71, 0.9, 0.99, 0.9999]


@pytest.mark.fault(area=AREA, fault='the newest checkpoint is cut off, or bits of it have changed',
                   expected='said, and the one before is used',
                   remedy='None is needed. Loaded by name: use an earlier one, or copy the file again.')
@pytest.mark.parametrize('part', PLACES)
@pytest.mark.parametrize('how', ['cut', 'bit', 'block'])
def test_damaged_newest(how, part, work_dir, show):
    newest = work_dir / 'epoch_3.pth'
    content = newest.read_bytes()
    newest.write_bytes(damaged(content, how, part))
    with pytest.raises(ValueError, match='epoch_3.pth is not the file that was written') as error:
        load_from_safe_file(str(newest))
    show(without_numbers(error.value))
    found = find_whole_checkpoint(work_dir)
    assert found.path == work_dir / 'epoch_2.pth' and list(found.torn) == [newest]


@pytest.mark.fault(area=AREA, fault='a checkpoint without a digest, as others write them, is cut off',
                   expected='said, and the one before is used',
                   remedy='None is needed. Loaded by name: use an earlier one, or copy the file again.')
@pytest.mark.parametrize('part', PLACES)
def test_cut_off_without_a_digest(part, work_dir, show):
    newest = work_dir / 'epoch_3.pth'
    newest.write_bytes(damaged(newest.read_bytes(), 'cut', part))
    (work_dir / 'epoch_3.pth.sha256').unlink()
    with pytest.raises(ValueError, match='epoch_3.pth cannot be read as a checkpoint') as error:
        load_from_safe_file(str(newest))
    show(without_numbers(error.value))
    assert find_whole_checkpoint(work_dir)[0] == work_dir / 'epoch_2.pth'


@pytest.mark.fault(area=AREA, fault='the digest beside a checkpoint is damaged', expected='said',
                   remedy='If the checkpoint is known to be whole, remove the digest.')
@pytest.mark.parametrize('content', [b'', b'\0' * 80, b'0123', b'G' * 64 + b'  epoch_3.pth\n', b'\xff\xfe' * 40,
                                     b'<html>'], ids=['empty', 'zeros', 'short', 'letters', 'bytes', 'html'])
def test_damaged_digest(content, work_dir, show):
    (work_dir / 'epoch_3.pth.sha256').write_bytes(content)
    with pytest.raises(ValueError, match='epoch_3.pth.sha256 is damaged.*remove epoch_3.pth.sha256') as error:
        load_from_safe_file(str(work_dir / 'epoch_3.pth'))
    show(str(error.value))


@pytest.mark.fault(area=AREA, fault='a digest of another file lies beside a checkpoint', expected='said',
                   remedy='Copy both again; if you changed the checkpoint on purpose, remove the digest.')
def test_digest_of_another(work_dir, show):
    (work_dir / 'epoch_3.pth.sha256').write_bytes((work_dir / 'epoch_1.pth.sha256').read_bytes())
    with pytest.raises(ValueError, match='not the file that was written') as error:
        load_from_safe_file(str(work_dir / 'epoch_3.pth'))
    show(without_numbers(error.value))


@pytest.mark.fault(area=AREA, fault='no checkpoint of the work directory is whole', expected='training does not start '
                   'from nothing', remedy='Copy a whole one there, name one (--resume PATH), or train anew in another '
                   '--work-dir.')
@pytest.mark.parametrize('seed', range(4))
def test_none_is_whole(seed, work_dir, show):
    rng = np.random.default_rng(seed)
    for number in (1, 2, 3):
        path = work_dir / f'epoch_{number}.pth'
        path.write_bytes(damaged(path.read_bytes(), 'cut', rng.uniform()))
    with pytest.raises(ValueError, match='No checkpoint in .* can be resumed from') as error:
        train_on(work_dir)
    show(without_numbers(error.value))
    assert all((work_dir / f'epoch_{number}.pth').is_file() for number in (1, 2, 3))


@pytest.mark.fault(area=AREA, fault='last_checkpoint is empty or damaged, as a loss of power leaves files',
                   expected='the newest whole checkpoint is used', remedy='None is needed.')
@pytest.mark.parametrize('content', [b'', b'\0' * 17, b'\n', b'\xff\xfe\0', b'epoch_3.pt', b'/nowhere/epoch_3.pth'],
                         ids=['empty', 'zeros', 'line', 'bytes', 'cut', 'elsewhere'])
def test_damaged_note(content, work_dir):
    (work_dir / 'last_checkpoint').write_bytes(content)
    assert find_whole_checkpoint(work_dir) == (work_dir / 'epoch_3.pth', {}, {})


@pytest.mark.fault(area=AREA, fault='the checkpoint that last_checkpoint names is gone, and so are all others',
                   expected='training does not start from nothing', remedy='Put it back, or remove last_checkpoint.')
def test_all_gone(work_dir, show):
    for path in work_dir.glob('epoch_*'):
        path.unlink()
    with pytest.raises(FileNotFoundError, match='names .*epoch_3.pth, which is not there') as error:
        train_on(work_dir)
    show(str(error.value))


@pytest.mark.fault(area=AREA, fault='a training is to resume from weights alone',
                   expected='said, instead of beginning with a fresh optimizer',
                   remedy='Resume from epoch_*.pth or iter_*.pth; or --cfg-options load_from=PATH without --resume.')
@pytest.mark.parametrize('lacking', [('optimizer', ), ('optimizer', 'param_schedulers')])
def test_weights_alone(lacking, work_dir, show):
    content = torch.load(work_dir / 'epoch_3.pth', weights_only=False)
    torch.save({key: value for key, value in content.items() if key not in lacking}, work_dir / 'best_mAP.pth')
    with pytest.raises(ValueError, match='no state of the optimizer') as error:
        train_on(work_dir, load_from=str(work_dir / 'best_mAP.pth'))
    show(str(error.value))


@pytest.mark.fault(area=AREA, fault='a checkpoint of the middle of an epoch meets a loop or sampler that cannot start '
                   'there', expected='said, instead of training on samples twice',
                   remedy='train_cfg.type=ResumableEpochTrainLoop, train_dataloader.sampler.type=ResumableSampler.')
@pytest.mark.parametrize('part', [dict(sampler='DefaultSampler'), dict(loop='EpochBasedTrainLoop')],
                         ids=['sampler', 'loop'])
def test_parts_that_cannot_resume(part, tmp_path, show):
    train_until(tmp_path, 3, checkpoint=EVERY_2)
    with pytest.raises(ValueError, match='Resumable') as error:
        train_on(tmp_path, checkpoint=EVERY_2, **part)
    show(str(error.value))


@pytest.mark.fault(area=AREA, fault='a training resumes under a strategy that keeps its checkpoints from hooks',
                   expected='said, instead of training on samples twice',
                   remedy="strategy=dict(type='ZeroStrategy'), in place of mmengine's DeepSpeedStrategy.")
def test_a_strategy_that_keeps_its_checkpoints(show):
    from mmengine._strategy import DeepSpeedStrategy  # there without DeepSpeed, too
    loop, strategy = object.__new__(EpochBasedTrainLoop), object.__new__(DeepSpeedStrategy)
    loop._dataloader = loop.dataloader = range(6)
    runner = SimpleNamespace(_resume=True, _has_loaded=True, iter=13, train_loop=loop, strategy=strategy)
    with pytest.raises(ValueError, match='resumes, .* not hand hooks') as error:
        ExactResumeHook().before_train(runner)
    show(str(error.value))


@pytest.mark.fault(area=AREA, fault='a checkpoint of the middle of an epoch was written without ExactResumeHook',
                   expected='said, instead of training on samples twice',
                   remedy='Resume from the end of an epoch.')
def test_an_unknown_position(tmp_path, show):
    train_until(tmp_path, 3, checkpoint=EVERY_2)
    path = tmp_path / 'iter_2.pth'
    content = torch.load(path, weights_only=False)
    for key in (POSITION, WITHIN_EPOCH):
        content.pop(key)
    (tmp_path / 'iter_2.pth.sha256').unlink()
    torch.save(content, path)
    with pytest.raises(ValueError, match='without ExactResumeHook') as error:
        train_on(tmp_path, checkpoint=EVERY_2)
    show(str(error.value))


@pytest.mark.fault(area=AREA, fault='a training that torchrun may start anew resumes from a file that is named',
                   expected='refused: each time it would go back to that file',
                   remedy='Write that path into last_checkpoint of the work directory, and say --resume alone.')
def test_a_named_file_and_restarts(tmp_path, monkeypatch, show):
    monkeypatch.setenv('TORCHELASTIC_MAX_RESTARTS', '3')
    with pytest.raises(ValueError, match='it would go back to epoch_1.pth') as error:
        choose_checkpoint(Config(dict(work_dir=str(tmp_path), resume=True, load_from='epoch_1.pth')))
    show(str(error.value))


@pytest.mark.fault(area=AREA, fault='several processes write a checkpoint between two updates of the weights',
                   expected='said then, and when training resumes from it: gradients are lost',
                   remedy='Choose a multiple of optim_wrapper.accumulative_counts as '
                   'default_hooks.checkpoint.interval.')
def test_lost_gradients(warned, show):
    writing, resuming = several_optimizers(world_size=2), several_optimizers(world_size=2)
    step(writing)
    checkpoint = dict(optimizer={})
    ExactResumeHook().before_save_checkpoint(writing, checkpoint)
    ExactResumeHook().after_load_checkpoint(resuming, checkpoint)
    assert len(warned) == 2 and 'written between two updates' in warned[0] and 'update lacks them' in warned[1]
    for text in warned:
        show(text)


@pytest.mark.fault(area=AREA, fault='the seed of the config is another than that of the checkpoint',
                   expected='said; samples come as with the seed of the checkpoint',
                   remedy='None is needed. Another seed takes a training that begins anew.')
def test_another_seed(tmp_path, warned, show):
    before = train_until(tmp_path, 3, checkpoint=EVERY_2)
    after = train_on(tmp_path, checkpoint=EVERY_2, seed=8)
    said, = [text for text in warned if 'seed of the checkpoint' in text]
    assert 'the checkpoint, 7. That of the config, 8' in said
    steps = {**before.steps, **after.steps}
    assert sorted(sum((steps[number][0] for number in range(1, 7)), [])) == list(range(11))
    show(said)


@pytest.mark.fault(area=AREA, fault='a training begins anew in a folder that holds checkpoints',
                   expected='said, before any of them is replaced', remedy='To go on with the earlier one: --resume.')
def test_an_earlier_training(work_dir, warned, show):
    make_runner(work_dir).train()
    said, = [text for text in warned if 'earlier training' in text]
    assert 'holds 3 checkpoints' in said and 'the newest epoch_3.pth' in said
    show(said)


@pytest.mark.fault(area=AREA, fault='a kill has left a checkpoint half written', expected='said; it is removed',
                   remedy='None is needed: the checkpoint before it is whole.')
def test_a_half_written_one(tmp_path, warned, show):
    half = tmp_path / '.epoch_1.pth.partial'
    half.write_bytes(b'half')
    make_runner(tmp_path).train()
    said, = [text for text in warned if 'being written' in text]
    assert str(half) in said and not half.exists()
    show(said)


@pytest.mark.fault(area=AREA, fault='--resume in a folder without checkpoints', expected='said; training begins',
                   remedy='None, if this is the first start. Else name the folder of the training: --work-dir.')
def test_nothing_to_resume_from(tmp_path, warned, show):
    assert min(train_on(tmp_path).steps) == 1
    said, = [text for text in warned if 'to resume from' in text]
    show(said)


def resume_in(work_dir):
    """What tools/train.py chooses with --resume."""
    cfg = Config(dict(work_dir=str(work_dir), resume=True, load_from=None))
    choose_checkpoint(cfg)
    return cfg.load_from


@pytest.mark.fault(area=AREA, fault='the newest file of the work directory holds weights alone',
                   expected='said; the checkpoint before it is used', remedy='None is needed. Write checkpoints with '
                   'default_hooks.checkpoint.save_optimizer=True to resume from them.')
def test_newest_are_weights(work_dir, warned, show):
    content = torch.load(work_dir / 'epoch_3.pth', weights_only=False)
    content.pop('optimizer')
    (work_dir / 'epoch_3.pth.sha256').unlink()
    torch.save(content, work_dir / 'epoch_3.pth')
    assert resume_in(work_dir) == str(work_dir / 'epoch_2.pth')
    said, = warned
    assert 'holds weights, but not the state of the optimizer' in said and (work_dir / 'epoch_3.pth').is_file()
    show(said)


@pytest.mark.fault(area=AREA, fault='a kill has come while DeepSpeed wrote its folder',
                   expected='said; the folder before it is used', remedy='None is needed.')
def test_a_folder_that_is_newer_than_the_note(tmp_path, warned, show):
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))
    for folder in (tmp_path / 'epoch_1.pth', tmp_path / 'epoch_2.pth'):
        folder.mkdir()
    for age, name in enumerate(('epoch_2.pth', 'last_checkpoint', 'epoch_1.pth')):
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    assert resume_in(tmp_path) == str(tmp_path / 'epoch_1.pth')
    said, = warned
    assert 'epoch_2.pth is newer than what last_checkpoint names' in said
    show(said)


@pytest.mark.fault(area=AREA, fault='a checkpoint cannot be read now',
                   expected='said; it is not called damaged, no older one is used, and it is left as it is',
                   remedy='Look after what the message names, then start the same command again.')
@pytest.mark.parametrize('code', [errno.EIO, errno.EACCES, errno.ESTALE, errno.ENOMEM])
@pytest.mark.parametrize('read', [0, 1, 2])
def test_not_read(code, read, work_dir, monkeypatch, show):
    before = {path.name: path.read_bytes() for path in work_dir.iterdir()}
    noting = type('Noting', (safe_checkpoint._NotingFile, FailingDisk), dict(code=code))
    monkeypatch.setattr(safe_checkpoint, '_NotingFile', noting)
    for reader in (lambda: load_from_safe_file(str(work_dir / 'epoch_3.pth')), lambda: resume_in(work_dir)):
        noting.reads = read
        with pytest.raises(NotReadError, match='epoch_3.pth.*then try again') as error:
            reader()
        assert error.value.errno == code
    show(re.sub(r'[\d,]*\d bytes', 'N bytes', str(error.value)))
    assert {path.name: path.read_bytes() for path in work_dir.iterdir()} == before


@pytest.mark.fault(area=AREA, fault='there is no such checkpoint', expected='said', remedy='Check the path.')
def test_no_such_file(tmp_path, show):
    with pytest.raises(FileNotFoundError, match='There is no checkpoint .*nowhere.pth') as error:
        load_from_safe_file(str(tmp_path / 'nowhere.pth'))
    show(str(error.value))


@pytest.mark.fault(area=AREA, fault='safetensors is not installed', expected='said', remedy='pip install safetensors')
def test_without_safetensors(tmp_path, monkeypatch, show):
    monkeypatch.setitem(sys.modules, 'safetensors', None)
    (tmp_path / 'weights.safetensors').touch()
    with pytest.raises(ModuleNotFoundError, match='needs safetensors') as error:
        load_from_safe_file(str(tmp_path / 'weights.safetensors'))
    show(str(error.value))


@pytest.mark.fault(area=AREA, fault='a checkpoint lacks weights of the model', expected='said, instead of random ones',
                   remedy='Give the config that it was trained with; join a reader with its encoder: '
                   'tools/join_checkpoints.py.')
@pytest.mark.parametrize('there', ['head', 'projector', 'other'])
def test_lacking_weights(there, tmp_path, show):
    model = torch.nn.ModuleDict(dict(backbone=torch.nn.Conv2d(3, 2, 1), head=torch.nn.Linear(2, 5)))
    weights = {name: value for name, value in model.state_dict().items() if name.startswith(there)}
    torch.save(dict(state_dict=weights or {f'{there}.weight': torch.zeros(2)}), tmp_path / 'trained.pth')
    with pytest.raises(ValueError, match='trained.pth lacks . weights of .* They would be random') as error:
        require_weights(model, tmp_path / 'trained.pth')
    assert ('join_checkpoints' in str(error.value)) == (there == 'projector')
    if there != 'other':
        show(str(error.value))


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


@pytest.mark.fault(area=AREA, fault='the disk is full while a checkpoint is written',
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


@pytest.mark.fault(area=AREA, fault='the disk fails when a file is flushed, renamed or its folder is flushed',
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


@pytest.mark.fault(area=AREA, fault='a disk fails, and does not tell how full it is', expected='said',
                   remedy='See what the system says of the disk; then --resume.')
def test_a_disk_that_is_gone(tmp_path, monkeypatch, show):
    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, 'replace', fail)
    monkeypatch.setattr(shutil, 'disk_usage', fail)
    with pytest.raises(NotWrittenError, match='how much is free there cannot be told') as error:
        write_with_digest(tmp_path / 'epoch_3.pth', bytes(1000))
    show(re.sub(r'[\d,]*\d bytes', 'N bytes', str(error.value)))


@pytest.mark.fault(area=AREA, fault='the work directory cannot be written to', expected='said',
                   remedy='Name another --work-dir.')
@pytest.mark.parametrize('place', ['file/epoch_3.pth', 'folder.pth'])
def test_no_such_place(place, tmp_path, show):
    (tmp_path / 'file').write_text('a file where a folder is to be')
    (tmp_path / 'folder.pth').mkdir()
    with pytest.raises(NotWrittenError, match='could not be written') as error:
        write_with_digest(tmp_path / place, b'content')
    show(re.sub(r'[\d,]*\d bytes', 'N bytes', str(error.value)))
    assert (tmp_path / 'file').read_text().startswith('a file') and (tmp_path / 'folder.pth').is_dir()
