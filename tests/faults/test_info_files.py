"""Info files that carry code, ask for the impossible, or are none."""
import json
import pickle

import mmengine
import numpy as np
import pytest
from mmdet3d.evaluation.metrics import NuScenesMetric
from mmengine.config import Config

import scene_qformer  # noqa: F401  makes mmengine's own reading safe
from faults.pickled import CONTENTS, code, named
from scene_qformer.datasets.info_conversion import convert_info_file
from scene_qformer.datasets.info_file import check_cameras, check_version, load_info_file
from tests.engine.test_pickled_tensors import EVIL

AREA = 'Info files'
FROM_A_SOURCE = ('Do not use this file. Create info files from your own copy of nuScenes: python tools/create_data.py '
                 '--root ROOT --version VERSION.')
ANEW = 'Create the info file anew: python tools/create_data.py --root ROOT --version VERSION.'


@pytest.mark.fault(area=AREA, fault='a pickle that runs code', expected='refused, and nothing is run',
                   remedy=FROM_A_SOURCE)
@pytest.mark.parametrize('name', code(''))
@pytest.mark.parametrize('protocol', [0, 2, 4])
def test_code(tmp_path, show, name, protocol):
    path, canary = tmp_path / 'infos.pkl', tmp_path / 'was_run'
    path.write_bytes(pickle.dumps(dict(metainfo={}, data_list=[code(canary)[name]]), protocol=protocol))
    with pytest.raises(ValueError, match=r'(?s)Cannot unpickle .*: it refers to .*tools/create_data') as caught:
        load_info_file(path)
    assert not canary.exists()
    if protocol == 2 and name in ('os.system', 'eval'):
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='a name that looks harmless', expected='refused', remedy=FROM_A_SOURCE)
@pytest.mark.parametrize('name', [
    'builtins.getattr', 'builtins.memoryview', 'builtins.range', 'numpy.load', 'numpy.core.multiarray.fromfile',
    'numpy._core.numeric.fromfunction', 'numpy.ndarray.tofile', 'collections.defaultdict', 'functools.partial',
    'operator.attrgetter', 'torch.load', 'mmengine.config.Config',
    'scene_qformer.data_only_pickle.PickledArray'])
def test_names(tmp_path, show, name):
    path = tmp_path / 'infos.pkl'
    path.write_bytes(named(*name.rsplit('.', 1)))
    with pytest.raises(ValueError, match=f'it refers to {name}; only plain Python containers'):
        load_info_file(path)


@pytest.mark.fault(area=AREA, fault='a pickle that asks for the impossible',
                   expected='an error, without a crash and without the memory', remedy=FROM_A_SOURCE)
@pytest.mark.parametrize('name', CONTENTS)
def test_bombs(tmp_path, show, name):
    path = tmp_path / 'infos.pkl'
    path.write_bytes(CONTENTS[name])
    with pytest.raises(ValueError, match=r'infos.pkl') as caught:
        load_info_file(path)
    if name in ('an object array longer than its list', 'a memo of gigabytes'):
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='the metric or mmengine itself reads a pickle that runs code',
                   expected='refused, and nothing is run', remedy=FROM_A_SOURCE)
@pytest.mark.parametrize('reader', ['NuScenesMetric', 'mmengine.load', 'Config.fromfile of YAML'])
def test_other_readers(tmp_path, show, reader):
    canary, path = tmp_path / 'was_run', tmp_path / 'infos.pkl'
    path.write_bytes(pickle.dumps(dict(data_list=[code(canary)['os.system']])))
    (tmp_path / 'config.yaml').write_text(f'model: !!python/object/apply:os.system ["touch {canary}"]')
    metric = NuScenesMetric(data_root=str(tmp_path), ann_file=str(path))
    metric.dataset_meta = dict(classes=('car', ), version='v1.0-mini')
    read = {'NuScenesMetric': lambda: metric.compute_metrics([]), 'mmengine.load': lambda: mmengine.load(str(path)),
            'Config.fromfile of YAML': lambda: Config.fromfile(tmp_path / 'config.yaml')}[reader]
    with pytest.raises(ValueError, match='it refers to posix.system|as YAML') as caught:
        read()
    assert not canary.exists()
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='results that were dumped, whose tensors or boxes are none',
                   expected='refused, and nothing is run', remedy='Do not use this file, or make it anew: run the test '
                   'again with DumpResults.')
@pytest.mark.parametrize('name', EVIL)
def test_tensors(tmp_path, monkeypatch, show, name):
    monkeypatch.chdir(tmp_path)
    mmengine.dump(EVIL[name], 'results.pkl', protocol=2)
    with pytest.raises(ValueError, match='Cannot unpickle .*results.pkl|Cannot unpickle the file') as caught:
        mmengine.load('results.pkl')
    assert [path.name for path in tmp_path.iterdir()] == ['results.pkl']
    if name in ('beyond its numbers', 'no shape', 'code among the numbers', 'a dict of numbers', 'an archive',
                'boxes of a list'):
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='code of another project wants a pickle read in its own way', expected='refused',
                   remedy='Of a file that you made yourself: pickle.load(file, encoding=...).')
def test_other_ways(tmp_path, show):
    mmengine.dump(dict(a=1), tmp_path / 'infos.pkl')
    with pytest.raises(ValueError, match='read as data alone, without encoding') as caught:
        mmengine.load(tmp_path / 'infos.pkl', encoding='latin1')
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='an info file or its folder is not there', expected='said how it is made',
                   remedy='Correct data_root and ann_file in the config, or create the info file: python '
                   'tools/create_data.py --root ROOT --version VERSION.')
@pytest.mark.parametrize('place', ['infos.pkl', 'nowhere/infos.pkl'])
def test_not_there(tmp_path, show, place):
    path = tmp_path / place
    with pytest.raises(FileNotFoundError, match='no info file .*infos.pkl') as caught:
        load_info_file(path)
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='not an info file of mmdet3d 1.x', expected='said what it is', remedy=ANEW)
@pytest.mark.parametrize('content', [
    [], {}, 7, None, 'text', dict(infos=[]), dict(metainfo={}), dict(metainfo=[], data_list=[]),
    dict(metainfo={}, data_list={}), dict(metainfo={}, data_list='abc'), dict(metainfo={}, data_list=[7]),
    dict(metainfo={}, data_list=[{}]), dict(metainfo={}, data_list=[dict(token=None)]),
    dict(metainfo={}, data_list=[dict(token='')]), dict(metainfo={}, data_list=[dict(token='a'), None])], ids=repr)
@pytest.mark.parametrize('ending', ['.pkl', '.json'])
def test_other_contents(tmp_path, show, content, ending):
    path = tmp_path / f'infos{ending}'
    mmengine.dump(content, path)
    with pytest.raises(ValueError, match=r'(?s)Expected .*tools/create_data') as caught:
        load_info_file(path)
    if ending == '.pkl' and content in ([], dict(infos=[]), dict(metainfo={}),
                                              dict(metainfo={}, data_list=[{}])):
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='an info file that is cut off or overwritten', expected='said', remedy=ANEW)
@pytest.mark.parametrize('ending', ['.pkl', '.json'])
@pytest.mark.parametrize('damage', ['empty', 'half', 'zeros', 'text', 'html', 'last byte'])
def test_damaged(tmp_path, show, ending, damage):
    path = tmp_path / f'infos{ending}'
    mmengine.dump(dict(metainfo={}, data_list=[dict(token='a', values=[1.5, 2.5, 3.5])]), path)
    whole = path.read_bytes()
    path.write_bytes({'empty': b'', 'half': whole[:len(whole) // 2], 'zeros': bytes(len(whole)), 'text': b'see wiki',
                      'html': b'<!DOCTYPE html><html>404</html>', 'last byte': whole[:-1]}[damage])
    with pytest.raises(ValueError, match=rf'Cannot (unpickle|read) the info file .*infos{ending}.*') as caught:
        load_info_file(path)
    if damage == 'half':
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='a camera or a version that is not there', expected='said what there is',
                   remedy='Correct cam_names or metainfo in the config, or create the info file anew.')
@pytest.mark.parametrize('images', [None, {}, [], 'CAM_FRONT', {'CAM_BACK': {}}, {'CAM_FRONT': None},
                                    {'CAM_FRONT': dict(img_path='x')}, {'CAM_FRONT': ['x']}], ids=repr)
def test_cameras(show, images):
    with pytest.raises(ValueError, match='Sample a of infos.pkl') as caught:
        check_cameras(dict(token='a', images=images), ('CAM_FRONT', ), 'infos.pkl')
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='an info file of another version', expected='said which',
                   remedy='Correct metainfo in the config, or create the info file anew.')
def test_version(show):
    with pytest.raises(ValueError, match="version 'v1.0-mini'") as caught:
        check_version('v1.0-trainval', 'v1.0-mini', 'data/nuscenes/infos.pkl')
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='something that JSON would change', expected='not converted, and said',
                   remedy='Remove the entry, or keep the pickle: it is read as safely.')
@pytest.mark.parametrize('value', [{1: 2}, {(1, 2): 3}, b'bytes', {1, 2}, float('inf'), 1j,
                                   np.array([1.5, np.inf])], ids=repr)
def test_conversion(tmp_path, show, value):
    path = tmp_path / 'infos.pkl'
    mmengine.dump(dict(metainfo={}, data_list=[dict(token='a', value=value)]), path)
    with pytest.raises(ValueError, match="'value' of 'data_list' of the file has") as caught:
        convert_info_file(path, tmp_path / 'infos.json')
    show(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ['infos.pkl']


@pytest.mark.fault(area=AREA, fault='lists that name each other', expected='not written out without end',
                   remedy=ANEW)
@pytest.mark.parametrize('kind', ['a billion laughs', 'a list in itself'])
def test_laughs(tmp_path, show, kind):
    laughs: list = ['ha']
    for _ in range(40):
        laughs = [laughs] * 2
    if kind == 'a list in itself':
        laughs.append(laughs)
    (tmp_path / 'infos.pkl').write_bytes(pickle.dumps(dict(metainfo={}, data_list=[dict(token='a', x=laughs)])))
    with pytest.raises(ValueError, match='over and over|nested too deeply') as caught:
        convert_info_file(tmp_path / 'infos.pkl', tmp_path / 'infos.json')
    show(caught.value)


def test_the_attacks_are_real(tmp_path):
    """Without the defence they work."""
    for name in ('os.system', 'eval', 'open'):
        canary = tmp_path / name
        pickle.loads(pickle.dumps(code(canary)[name]))
        assert canary.exists()
    assert json.loads('{"a": 1, "a": 2}') == {'a': 2}
