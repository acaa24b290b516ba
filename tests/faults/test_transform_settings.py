"""Settings of transforms that make no sense: refused when the transform is built, not in some frame or never."""
import numpy as np
import pytest
import torch
from mmdet3d.registry import TRANSFORMS
from mmengine.config import Config

from scene_qformer.token_cache import Provenance, TokenCacheWriter

AREA = 'Transforms'
NAN, INF = float('nan'), float('inf')


def fault(what, remedy, expected='refused when it is built, with the setting and the transform'):
    return pytest.mark.fault(area=AREA, fault=what, expected=expected, remedy=remedy)


def build(name, **settings):
    return TRANSFORMS.build(dict(type=f'mmdet3d.{name}', **settings))


def refused(match, name, **settings):
    with pytest.raises(ValueError, match=match) as caught:
        build(name, **settings)
    return caught.value


@pytest.mark.parametrize(('name', 'settings'), [
    ('ResizeSurroundImages', dict(size=[29, 23])), ('LoadSurroundImages', dict(size=np.array([29., 23.]))),
    ('CropSurroundImages', dict(size=(np.int64(29), np.float32(23)), anchor=np.array([0.5, 1.]))),
    ('RandomRotateScaleScene', dict(rotation_range=np.deg2rad([-22.5, 22.5]), scale_range=np.array([0.9, 1.1]))),
    ('RandomWarpSurroundImages', dict(scale_range=[1, 1], shift_range=(0, np.float64(0.1)), max_rotation=np.int8(5),
                                      mirror_prob=np.float16(0.5))),
    ('RandomMirrorScene', dict(prob=1)), ('PadSurroundImages', dict(size_divisor=np.int32(32), value=0)),
    ('ChooseQuestions', dict(num=np.int64(3))), ('RandomDropCameras', dict(max_dropped=np.int64(2), prob=0)),
    ('DropCameras', dict(cam_names=[np.str_('CAM_BACK')])), ('PackSceneInputs', dict(keys=['img', 'gt_text']))])
def test_the_good_ones(name, settings):
    """As they are, in a config of mmengine, and of numpy."""
    build(name, **settings)
    if not any(isinstance(value, (np.ndarray, np.generic)) for value in settings.values()):
        build(name, **dict(Config(settings).items()))


SIZES = [(0, 23), (29, 0), (-29, 23), (29, ), (29, 23, 3), 29, '29x23', '23', (29.5, 23), (NAN, 23), (INF, 23),
         ('29', '23'), dict(width=29), {29: 0, 23: 0}, {29, 23}, (True, True)]


@fault('a size that is none', 'Say size=(width, height), in pixels.')
@pytest.mark.parametrize(('name', 'size'), [
    *((name, size) for size in SIZES for name in (
        'LoadSurroundImages', 'TakeSurroundImages', 'ResizeSurroundImages', 'CropSurroundImages')),
    ('ResizeSurroundImages', None), ('CropSurroundImages', None)])  # None makes a loader keep the size of files
def test_sizes(show, name, size):
    error = refused(rf'Expected size of {name} as \(width, height\) in pixels, .* got', name, size=size)
    if name in ('ResizeSurroundImages', 'CropSurroundImages') and size == (0, 23):
        show(error)


SHARES = [-0.1, 1.1, 50, NAN, INF, '0.5', None, True]


@fault('a probability or share that is none', 'Say a number from 0 to 1: 0.5 is half of the frames.')
@pytest.mark.parametrize('value', SHARES)
@pytest.mark.parametrize(('name', 'setting'), [
    ('RandomMirrorScene', 'prob'), ('RandomWarpSurroundImages', 'mirror_prob'), ('RandomDropCameras', 'prob')])
def test_shares(show, name, setting, value):
    error = refused(f'{setting} of {name} to be a number from 0 to 1, got', name, **{setting: value})
    if value == 50:
        show(error)


@fault('two numbers that are none, or out of bounds', 'Say two numbers within the bounds; a pair of equal ones is one.')
@pytest.mark.parametrize(('name', 'settings', 'shown'), [
    *(('CropSurroundImages', dict(size=(29, 23), anchor=anchor), anchor == (0.5, 1.5)) for anchor in (
        (0.5, 1.5), (-0.5, 0.5), (0.5, NAN), 0.5, (0.5, ), 'bottom', (0.5, 'bottom'), None)),
    *(('RandomWarpSurroundImages', dict(shift_range=shift), shift == 0.1) for shift in (
        0.1, (20, 10), (0.1, -0.1), (0.1, NAN), (0.1, 0.1, 0.1), None)),
    *(('RandomRotateScaleScene', dict(rotation_range=angles), angles == (-22.5, 22.5)) for angles in (
        (-22.5, 22.5), 0.4, (NAN, 0.4), (-INF, INF), (0.1, ), None, ('-pi', 'pi')))])
def test_pairs(show, name, settings, shown):
    error = refused(f'Expected {list(settings)[-1]} of {name}.* two numbers from', name, **settings)
    if shown:
        show(error)


@fault('a range of scales that is none', 'Say scale_range=(low, high); (1.0, 1.0) scales nothing.')
@pytest.mark.parametrize('scales', [(0, 1), (-1, 1), (1.1, 0.9), (NAN, 1), (1, NAN), (1, INF), 1.1, (1.1, ), '12', None,
                                    (0.9, 1.0, 1.1), ('0.9', '1.1')])
@pytest.mark.parametrize('name', ['RandomWarpSurroundImages', 'RandomRotateScaleScene'])
def test_scales(show, name, scales):
    error = refused(r'Expected scale_range \(low, high\) with 0 < low <= high, got .* for ' + name, name,
                    scale_range=scales)
    if scales == (1.1, 0.9):
        show(error)


@fault('a number out of bounds', 'Say one within the bounds.')
@pytest.mark.parametrize(('name', 'settings', 'match'), [
    *((name, {setting: value}, f'{setting} of {name} to be a whole number of at least 1') for name, setting in (
        ('PadSurroundImages', 'size_divisor'), ('ChooseQuestions', 'num'), ('RandomDropCameras', 'max_dropped'),
        ('RandomDropCameras', 'min_left')) for value in (0, -1, 2.5, NAN, '2', None, (2, 2), True)),
    *(('PadSurroundImages', dict(size_divisor=32, value=value), 'value of PadSurroundImages .* from 0 to 255')
      for value in (-1, 300, NAN, (0, 0, 0))),
    *(('RandomWarpSurroundImages', dict(max_rotation=value), 'max_rotation .* in degrees, .* from 0 to 180')
      for value in (-5, 360, NAN, INF, (-5, 5)))])
def test_numbers(show, name, settings, match):
    error = refused(match, name, **settings)
    if str(list(settings.values())[-1]) in ('0', '300', '360'):
        show(error)


@fault('cameras to drop that are no list of names', "Say cam_names=['CAM_BACK'], also for a single one.")
@pytest.mark.parametrize('names', ['CAM_BACK', None, [3], dict(CAM_BACK=True), [['CAM_BACK']],
                                   ['CAM_BACK', 'CAM_BACK']])
def test_names(show, names):
    error = refused('Expected cam_names of DropCameras to be a list or tuple of different names',
                    'DropCameras', cam_names=names)
    if names == 'CAM_BACK':
        show(error)


@fault('something to pack that is not known', "Correct keys of the last transform: keys=('img', ), with the comma.",
       'refused when it is built: mmdet3d would pack nothing, and say nothing')
@pytest.mark.parametrize('name', ['PackSceneInputs', 'PackSceneTokens'])
@pytest.mark.parametrize('keys', ['img', ('image', ), ('img', 'gt_boxes_3d'), (None, ), [3], None, 3])
def test_keys(show, name, keys):
    error = refused(f'Expected keys of {name} to be a list or tuple of some of points, img, ', name, keys=keys)
    if name == 'PackSceneInputs' and keys in ('img', ('image', )):
        show(error)


CACHE = "Say the space of the cache, and give TokenReader a projector for 'queries', None for 'tokens'."


@pytest.fixture
def caches(tmp_path):
    """One of each space."""
    (tmp_path / 'infos.pkl').write_bytes(b'infos')
    for space in ('queries', 'tokens'):
        provenance = Provenance(space, 'float32', 'a.py', {}, 'a.pth', 'a' * 64, 'b' * 64)
        with TokenCacheWriter(tmp_path / space, provenance) as writer:
            writer.begin('val', tmp_path / 'infos.pkl', frames=1)
            writer.add('sample-7', torch.arange(15.).reshape(3, 5))
    return tmp_path


@fault('a token cache of another space than is wanted', CACHE)
@pytest.mark.parametrize(('there', 'wanted', 'match'), [
    ('queries', 'tokens', r'holds queries \(3, 5\), but tokens are wanted.*former still need a projector'),
    ('tokens', 'queries', r'holds tokens \(3, 5\), but queries are wanted.*projector=None')])
def test_another_space(show, caches, there, wanted, match):
    assert np.shape(build('LoadSceneTokens', cache=caches / there, space=there)(dict(token='sample-7'))[
        'scene_queries']) == (3, 5)
    show(refused(match, 'LoadSceneTokens', cache=caches / there, space=wanted))


@fault('a space of scene tokens that is not known', CACHE)
@pytest.mark.parametrize('space', ['query', 'Tokens', '', None, 3])
def test_unknown_space(show, caches, space):
    error = refused('Expected space of LoadSceneTokens to be one of queries, tokens, got', 'LoadSceneTokens',
                    cache=caches / 'queries', space=space)
    if space == 'query':
        show(error)
