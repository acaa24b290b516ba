import os
import sys

import pytest
import safetensors.torch
import torch
from mmengine.logging import MessageHub
from mmengine.runner.checkpoint import CheckpointLoader, load_checkpoint

from scene_qformer.engine import load_from_safe_file


class RunsCommand:
    """Unpickling this would run a shell command."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command, )


class FetchesAttribute:
    """Unpickling this would hand out an attribute of an allowed class, the first step of an escape."""

    def __reduce__(self):
        from mmengine.logging import HistoryBuffer
        return getattr, (HistoryBuffer, '__init__')


def mmengine_checkpoint():
    hub = MessageHub.get_instance('test_safe_checkpoint')
    for value in (1.5, 2.5):
        hub.update_scalar('train/loss', value)
    return dict(
        state_dict=dict(weight=torch.arange(3.)),
        message_hub=hub.state_dict(),
        meta=dict(epoch=3, config='import os\nos.system("false")', dataset_meta=dict(classes=('car', ))))


def test_mmengine_checkpoint_comes_back(tmp_path):
    torch.save(mmengine_checkpoint(), tmp_path / 'epoch_3.pth')
    checkpoint = CheckpointLoader.load_checkpoint(str(tmp_path / 'epoch_3.pth'))
    assert checkpoint['state_dict']['weight'].tolist() == [0., 1., 2.]
    buffer = checkpoint['message_hub']['log_scalars']['train/loss']
    assert buffer.data[0].tolist() == [1.5, 2.5] and buffer.mean() == 2.0
    assert checkpoint['meta']['epoch'] == 3


def test_config_source_is_where_nothing_evaluates_it(tmp_path):
    torch.save(mmengine_checkpoint(), tmp_path / 'epoch_3.pth')
    meta = load_from_safe_file(str(tmp_path / 'epoch_3.pth'))['meta']
    assert 'config' not in meta and meta['config_text'].startswith('import os')


def test_code_is_refused_and_not_run(tmp_path):
    canary, path = tmp_path / 'was_run', tmp_path / 'evil.pth'
    torch.save(dict(state_dict={}, extra=RunsCommand(f'touch {canary}')), path)
    with pytest.raises(ValueError, match='Refused to load .*evil.pth: it carries more than weights'):
        load_checkpoint(torch.nn.Linear(2, 3), str(path))
    assert not canary.exists()


def test_getattr_is_no_way_out(tmp_path):
    torch.save(dict(extra=FetchesAttribute()), tmp_path / 'evil.pth')
    with pytest.raises(ValueError, match="Refused.*attribute '__init__'"):
        load_from_safe_file(str(tmp_path / 'evil.pth'))


def test_cut_off_file(tmp_path):
    torch.save(mmengine_checkpoint(), tmp_path / 'whole.pth')
    (tmp_path / 'cut.pth').write_bytes((tmp_path / 'whole.pth').read_bytes()[:400])
    with pytest.raises(ValueError, match='cut.pth cannot be read.*damaged or cut short'):
        load_from_safe_file(str(tmp_path / 'cut.pth'))
    (tmp_path / 'empty.pth').write_bytes(b'')
    with pytest.raises(ValueError, match='damaged or cut short'):
        load_from_safe_file(str(tmp_path / 'empty.pth'))


@pytest.mark.parametrize('content', [
    b'<!DOCTYPE html><html>not found</html>', b'version https://git-lfs.github.com/spec/v1', b'hello world',
    b'\x80\x02.', bytes(range(256))
], ids=['html', 'lfs', 'text', 'pickle', 'bytes'])
def test_what_is_no_checkpoint_is_not_called_an_attack(content, tmp_path):
    (tmp_path / 'noise.pth').write_bytes(content)
    with pytest.raises(ValueError, match='noise.pth cannot be read as a checkpoint') as caught:
        load_from_safe_file(str(tmp_path / 'noise.pth'))
    assert 'more than weights' not in str(caught.value)


def test_missing_file():
    advice = r'--cfg-options model\.backbone\.init_cfg=None'
    with pytest.raises(FileNotFoundError, match=f'There is no checkpoint nowhere.pth.*{advice}'):
        load_from_safe_file('nowhere.pth')


@pytest.mark.parametrize('url', ['https://example.org/a.pth', 'torchvision://resnet50', 'open-mmlab://resnet50'])
def test_nothing_is_downloaded(url):
    with pytest.raises(ValueError, match='nothing is downloaded unasked'):
        CheckpointLoader.load_checkpoint(url)


def test_safetensors_file(tmp_path):
    safetensors.torch.save_file(dict(weight=torch.arange(3.)), tmp_path / 'weights.safetensors')
    layer = torch.nn.Linear(3, 1, bias=False)
    layer.weight.data.zero_()
    assert CheckpointLoader.load_checkpoint(str(tmp_path / 'weights.safetensors'))['weight'].tolist() == [0., 1., 2.]
    safetensors.torch.save_file(dict(weight=torch.arange(3.)[None]), tmp_path / 'layer.safetensors')
    load_checkpoint(layer, str(tmp_path / 'layer.safetensors'), map_location='cpu')
    assert layer.weight.tolist() == [[0., 1., 2.]]


def test_damaged_safetensors_file(tmp_path):
    (tmp_path / 'weights.safetensors').write_bytes(b'no such format')
    with pytest.raises(ValueError, match='weights.safetensors cannot be read as a checkpoint'):
        load_from_safe_file(str(tmp_path / 'weights.safetensors'))


@pytest.mark.parametrize('map_location', [
    None, 'cpu', torch.device('cpu'), lambda storage, location: storage, {'cuda:1': 'cuda:0'}],
    ids=['none', 'name', 'device', 'function', 'dict'])
def test_safetensors_go_where_torch_would_put_them(map_location, tmp_path):
    safetensors.torch.save_file(dict(weight=torch.arange(3.)), tmp_path / 'weights.safetensors')
    weight = load_from_safe_file(str(tmp_path / 'weights.safetensors'), map_location)['weight']
    assert weight.tolist() == [0., 1., 2.] and weight.device == torch.device('cpu')


def test_safetensors_go_to_another_device(tmp_path, monkeypatch):
    devices = []
    monkeypatch.setattr(safetensors.torch, 'load_file', lambda path, device: devices.append(device))
    (tmp_path / 'weights.safetensors').touch()
    for map_location in ('cuda:1', torch.device('cuda', 1)):
        load_from_safe_file(str(tmp_path / 'weights.safetensors'), map_location)
    assert devices == ['cuda:1', 'cuda:1']


def test_without_safetensors_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'safetensors', None)
    (tmp_path / 'weights.safetensors').touch()
    with pytest.raises(ModuleNotFoundError, match='weights.safetensors needs safetensors.*`pip install safetensors`'):
        load_from_safe_file(str(tmp_path / 'weights.safetensors'))
