"""Checkpoints that are damaged, lost, lacking or cannot be read, and their digests and notes."""
import errno
import re
import sys

import numpy as np
import pytest
import torch

from scene_qformer.engine import find_whole_checkpoint, load_from_safe_file, require_weights, safe_checkpoint
from scene_qformer.engine.safe_checkpoint import NotReadError
from tests.engine.test_whole_checkpoint import FailingDisk
from tests.faults.test_resuming import resume_in
from tests.small_training import train_on

AREA = 'Checkpoints'


def without_numbers(error):
    """The part of a message that is the same for all damages of a kind."""
    text = re.sub(r'[0-9a-f]{12},', '<digest>,', str(error))
    return re.sub(r'as a checkpoint \(.*?\)', 'as a checkpoint (...)', re.sub(r'[\d,]*\d bytes', 'N bytes', text))


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
