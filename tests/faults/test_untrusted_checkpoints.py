"""Checkpoints from elsewhere: that carry code, lie about sizes, or are something else."""
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from mmengine.runner.checkpoint import CheckpointLoader

from faults.pickled import BOMBS, code
from scene_qformer.engine import load_from_safe_file
from tests.engine.test_safe_checkpoint import FetchesAttribute
from tests.small_training import Score, train_on, train_until

AREA = 'Checkpoints from elsewhere'
TRUSTED = ('Use checkpoints from a source that you trust, best as .safetensors. Of your own: save the state dict '
           'alone.')
ANOTHER = 'Use an earlier checkpoint of the work directory, or download the file again.'


@pytest.mark.fault(area=AREA, fault='a checkpoint that runs code', expected='refused, and nothing is run',
                   remedy=TRUSTED)
@pytest.mark.parametrize('name', code(''))
@pytest.mark.parametrize('zipped', [True, False])
def test_code(tmp_path, show, name, zipped):
    canary, path = tmp_path / 'was_run', tmp_path / 'evil.pth'
    torch.save(dict(state_dict=dict(weight=torch.zeros(2)), extra=code(canary)[name]), path,
               _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match='Refused to load .*evil.pth: it carries more than weights') as caught:
        load_from_safe_file(str(path))
    assert not canary.exists()
    if zipped and name in ('os.system', 'getattr'):
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='a checkpoint that asks for the inside of a class that it may name',
                   expected='refused', remedy=TRUSTED)
def test_attributes(tmp_path, show):
    torch.save(dict(extra=FetchesAttribute()), tmp_path / 'evil.pth')
    with pytest.raises(ValueError, match="Refused to load .*evil.pth.*the attribute '__init__'") as caught:
        load_from_safe_file(str(tmp_path / 'evil.pth'))
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='arrays that lie about their size', expected='an error, without a crash',
                   remedy=TRUSTED)
@pytest.mark.parametrize('name', [name for name in BOMBS if name != 'an array as a key'])
def test_arrays(tmp_path, show, name):
    torch.save(dict(state_dict={}, message_hub=BOMBS[name]), tmp_path / 'evil.pth')
    with pytest.raises(ValueError, match='evil.pth') as caught:
        load_from_safe_file(str(tmp_path / 'evil.pth'))
    if name == 'an object array longer than its list':
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='a checkpoint that is resumed from names other files of yours as outdated',
                   expected='they stay', remedy='None is needed. Ask where the checkpoint comes from.')
@pytest.mark.parametrize('what', ['a folder', 'a checkpoint', 'up and over', 'a best one', 'a number'])
def test_what_it_says_is_outdated(what, tmp_path, warned, show):
    precious = tmp_path / ('precious.pth' if what != 'a folder' else 'precious')
    precious.mkdir()
    (precious / 'work').write_text('of years')
    folder = tmp_path / 'training'
    options = dict(validate=True, checkpoint=dict(interval=1, save_best='test/score', rule='greater'))
    Score.scores = [1., 2., 3., 4., 5.]
    train_until(folder, 8, **options)
    os.utime(precious, (1, 1))
    checkpoint = load_from_safe_file(str(folder / 'epoch_1.pth'))
    if what == 'a best one':
        checkpoint['message_hub']['runtime_info']['best_ckpt'] = str(precious)
    else:
        checkpoint['message_hub']['runtime_info']['outdated_checkpoints'] = [
            7 if what == 'a number' else '../precious.pth' if what == 'up and over' else str(precious)]
    (folder / 'epoch_1.pth.sha256').unlink()
    torch.save(checkpoint, folder / 'epoch_1.pth')
    train_on(folder, **options)
    assert (precious / 'work').read_text() == 'of years'
    if what != 'a number':
        show(next(text for text in warned if 'is not removed' in text))


def rewritten(path, edit, compression=zipfile.ZIP_STORED):
    """The archive with its parts edited: name and content to a list of both."""
    with zipfile.ZipFile(path) as archive:
        parts = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, 'w', compression) as archive:
        for name, content in edit(parts):
            archive.writestr(name, content)


@pytest.mark.fault(area=AREA, fault='an archive that is larger inside than outside', expected='refused',
                   remedy=TRUSTED)
@pytest.mark.parametrize('how', ['compressed', 'one part compressed', 'a view of one number', 'a part twice'])
def test_bombs(tmp_path, show, how):
    path = tmp_path / 'bomb.pth'
    value = torch.zeros(1).expand(10 ** 12) if how == 'a view of one number' else torch.zeros(10 ** 6)
    torch.save(dict(state_dict=dict(weight=value)), path)
    if how == 'compressed':
        rewritten(path, lambda parts: parts, zipfile.ZIP_DEFLATED)
    elif how == 'one part compressed':
        with zipfile.ZipFile(path, 'a', zipfile.ZIP_DEFLATED) as archive:
            archive.writestr('bomb/data/1', bytes(10 ** 7))
    elif how == 'a part twice':
        with pytest.warns(UserWarning, match='Duplicate name'):
            rewritten(path, lambda parts: [*parts, parts[0]])
    with pytest.raises(ValueError, match='bomb.pth cannot be read as a checkpoint') as caught:
        load_from_safe_file(str(path))
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='no checkpoint at all, or not all of one', expected='said', remedy=ANOTHER)
@pytest.mark.parametrize('kind', ['TorchScript', 'tar', 'html', 'Git LFS', 'a zip of pictures', 'nested', 'an array',
                                  'half', 'without its numbers', 'zeros', 'a pickle of text', 'without its list'])
def test_other_files(tmp_path, show, kind):
    path = tmp_path / 'weights.pth'
    torch.save(dict(state_dict=dict(weight=torch.zeros(1000))), path)
    whole = path.read_bytes()
    if kind == 'TorchScript':
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 3), torch.zeros(1, 2)), path)
    elif kind == 'tar':
        import tarfile
        with tarfile.open(path, 'w') as archive:
            archive.add(__file__, '../../pickle')
    elif kind == 'a zip of pictures':
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('CAM_FRONT/x.jpg', b'x')
    elif kind == 'nested':
        deep = b'\x80\x02)' + b'\x85' * 10 ** 5 + b'.'
        rewritten(path, lambda parts: [(name, deep if name.endswith('data.pkl') else part) for name, part in parts])
    elif kind == 'without its list':  # of parts, at the archive's end: overwritten, with its mark left
        mark = whole.rindex(b'PK\x05\x06')
        path.write_bytes(whole[:mark - 40] + bytes(40) + whole[mark:])
    elif kind == 'without its numbers':
        rewritten(path, lambda parts: [part for part in parts if '/data/' not in part[0]])
    else:
        path.write_bytes({'html': b'<!DOCTYPE html><html>404</html>',
                          'Git LFS': b'version https://git-lfs.github.com/spec/v1',
                          'an array': np.zeros(7).tobytes(), 'half': whole[:len(whole) // 2], 'zeros': bytes(999),
                          'a pickle of text': pickle.dumps('weights')}[kind])
    with pytest.raises(ValueError, match='weights.pth cannot be read as a checkpoint') as caught:
        load_from_safe_file(str(path))
    assert 'weights_only' not in str(caught.value), 'PyTorch advises to switch the safety off'
    if kind in ('TorchScript', 'tar', 'half', 'html', 'nested', 'without its list'):
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='a name of a file that is an address', expected='nothing is downloaded',
                   remedy='Download the weights yourself, and give the path of the file.')
@pytest.mark.parametrize('url', ['https://example.org/a.pth', 'http://localhost/a.pth', 's3://a/b.pth',
                                 'torchvision://resnet50', 'open-mmlab://resnet50', 'modelzoo://a', 'pavi://a'])
def test_addresses(show, url):
    with pytest.raises(ValueError, match='nothing is downloaded unasked') as caught:
        CheckpointLoader.load_checkpoint(url)
    if url.startswith('https'):
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='a config in the checkpoint, which resuming would run', expected='kept as text',
                   remedy='Nothing to do. Config files themselves are Python: never run those of strangers.')
def test_config(tmp_path):
    canary = tmp_path / 'was_run'
    torch.save(dict(state_dict={}, meta=dict(config=f'open({str(canary)!r}, "w")')), tmp_path / 'a.pth')
    meta = load_from_safe_file(str(tmp_path / 'a.pth'))['meta']
    assert 'config' not in meta and 'was_run' in meta['config_text'] and not canary.exists()
