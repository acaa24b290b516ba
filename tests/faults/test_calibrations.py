"""A calibration that somebody brings for a frame of their own, and matrices that geometry cannot take."""
import copy

import numpy as np
import pytest
import torch
from datasets.small_nuscenes import write_small_nuscenes
from mmdet3d.registry import TRANSFORMS

from scene_qformer import geometry
from scene_qformer.datasets.calibration import read_cameras
from scene_qformer.datasets.nuscenes_infos import open_nuscenes

AREA = 'Calibration'
NAMES = ('CAM_FRONT', 'CAM_BACK')
MATRICES = 'Give cam2img and lidar2cam of each camera of the model; docs/scene_tokens.md shows the forms they may have.'
K = [[70., 0, 31], [0, 90., 23], [0, 0, 1]]
POSE = np.array([[0., -1, 0, 3], [0, 0, -1, 5], [1, 0, 0, -7], [0, 0, 0, 1]])


def fault(what, expected='refused, with what was expected', remedy=MATRICES):
    return pytest.mark.fault(area=AREA, fault=what, expected=expected, remedy=remedy)


def info():
    """An info dict of mmdet3d."""
    return dict(token='sample-7', images={
        name: dict(img_path='none.jpg', cam2img=copy.deepcopy(K), lidar2cam=POSE.tolist()) for name in NAMES})


def arrays(**changes):
    return dict(dict(cam2img=np.array([K, K]), lidar2cam=np.array([POSE, POSE])), **changes)


def read(cameras):
    return read_cameras(cameras, NAMES)[1]


def test_the_good_ones():
    pose = torch.from_numpy(POSE).float()
    for good in (
            info(), info()['images'], arrays(image_size=(62, 46)),
            arrays(lidar2img=np.eye(4), img_shape=(46, 62), camera_height=1.5),
            arrays(lidar2cam=torch.stack([pose, pose])), arrays(lidar2cam=[torch.nn.Parameter(pose)] * 2),
            arrays(lidar2cam=torch.stack([pose, pose]).bfloat16()), arrays(lidar2cam=torch.stack([pose, pose]).int())):
        np.testing.assert_array_equal(read(good)['CAM_BACK']['lidar2cam'], POSE)


@pytest.mark.parametrize('size', [(0, 0), (None, None), (np.int64(62), 46.)])
def test_sizes_that_are_known_or_not(size):
    cameras = info()
    cameras['images']['CAM_BACK'].update(width=size[0], height=size[1])
    assert read(cameras)['CAM_BACK'].get('size') == ((62, 46) if size[0] else None)


@fault('a calibration of another kind')
@pytest.mark.parametrize('cameras', [None, 'calibration.json', 7, np.eye(4), (info(), info()), ('token', 'sample', 3)],
                         ids=['none', 'text', 'number', 'matrix', 'tuple of dicts', 'tuple of three'])
def test_kinds(show, cameras):
    with pytest.raises(TypeError, match=r'Expected cameras as \(nusc, sample_token\)') as caught:
        read(cameras)
    if isinstance(cameras, tuple) and len(cameras) == 2:
        show(caught.value)


@fault('a camera of the model has no calibration')
@pytest.mark.parametrize('lost', [NAMES[:1], NAMES], ids=['one', 'all'])
def test_no_such_camera(show, lost):
    cameras = info()
    for name in lost:
        cameras['images'][name.lower()] = cameras['images'].pop(name)
    with pytest.raises(ValueError, match='The calibration lacks CAM_FRONT.*it has .*cam_front') as caught:
        read(cameras)
    if lost == NAMES[:1]:
        show(caught.value)


@fault('a matrix or camera is missing, or is none')
@pytest.mark.parametrize(('changes', 'match'), [
    (dict(cam2img=None), 'CAM_BACK lacks cam2img; it has img_path, lidar2cam.'),
    (dict(lidar2cam='a'), 'Expected lidar2cam of CAM_BACK as a matrix of numbers, got a str that is none'),
    (dict(lidar2cam=POSE * 1j), 'got a ndarray that is none .its entries are complex128'),
    (dict(lidar2cam=torch.tensor(POSE) > 0), 'got a Tensor that is none .its entries are bool'),
    (dict(lidar2cam=[['a'] * 4] * 4), 'Expected lidar2cam of CAM_BACK as a matrix of numbers, got a list'),
    (dict(cam2img=dict(fx=70)), 'Expected cam2img of CAM_BACK as a matrix of numbers, got a dict'),
    (dict(cam2img=K[:2]), r'Expected cam2img of CAM_BACK as one of \(3, 3\), .* got \(2, 3\)'),
    (None, 'Expected the calibration of CAM_BACK as a dict, got a NoneType'),
    (K, 'Expected the calibration of CAM_BACK as a dict, got a list')])
def test_one_camera(show, changes, match):
    cameras = info()
    cameras['images']['CAM_BACK'] = dict(cameras['images']['CAM_BACK'], **changes) if isinstance(
        changes, dict) else changes
    with pytest.raises(ValueError, match=match) as caught:
        read(cameras)
    if changes is None or isinstance(changes, dict) and str(*changes.values()) in ('None', 'a', str(K[:2])):
        show(caught.value)
    masked = read_cameras(cameras, NAMES, 'mask')[1]
    assert masked['CAM_BACK']['fault'] == str(caught.value) and 'fault' not in masked['CAM_FRONT']


@fault('a matrix is transposed', 'told: it would invert as well as a right one',
       'Transpose it: points are columns, and are multiplied from the right.')
@pytest.mark.parametrize(('key', 'matrix'), [
    ('cam2img', np.transpose(K)), ('lidar2cam', POSE.T), ('cam2img', np.multiply(2, K))],
    ids=['cam2img', 'lidar2cam', 'cam2img of twice the depth'])
def test_transposed(show, key, matrix):
    cameras = info()
    cameras['images']['CAM_BACK'][key] = matrix.tolist()
    with pytest.raises(ValueError, match=rf'0, 0, .*1 in row \d of {key} of CAM_BACK, got') as caught:
        read(cameras)
    if key == 'lidar2cam':
        show(caught.value)


@fault('arrays for all cameras that lack one, or are of another shape')
@pytest.mark.parametrize(('cameras', 'match', 'shown'), [
    (dict(cam2img=[K, K]), 'has cam2img, but lacks lidar2cam', True),
    (arrays(cam2img=[K]), r'cam2img of shape \(2, 3, 3\) or .* for each of CAM_FRONT, CAM_BACK; got \(1, 3, 3\)', True),
    (arrays(cam2img=K), r'got \(3, 3\)', False), (arrays(lidar2cam=None), 'got a NoneType', False),
    (arrays(lidar2cam=np.zeros((2, 3, 3))), r'got \(2, 3, 3\)', False),
    (arrays(cam2img=[K, 'K']), 'Expected cam2img of all cameras as a matrix of numbers, got a list', False),
    (arrays(cam2img=dict(CAM_FRONT=K)), 'Expected cam2img of all cameras as a matrix of numbers, got a dict', True),
    (arrays(img_size=(62, 46)), 'has img_size, which is not known', True),
    (arrays(width=62, height=46), 'has width, height, which is not known', False),
    (arrays(imageSize=(62, 46)), 'has imageSize, which is not known', False),
    (arrays(resolution=62), 'has resolution, which is not known', False)])
def test_arrays(show, cameras, match, shown):
    with pytest.raises(ValueError, match=match) as caught:
        read(cameras)
    if shown:
        show(caught.value)


@fault('an image size that is none', remedy='Give image_size=(width, height) beside arrays, or both of them in each '
       'camera of an info dict; or leave it out.')
@pytest.mark.parametrize('size', [(0, 46), (62, -46), (62, ), 62, '62x46', (62.5, 46), (62, float('nan')), (62, None)])
def test_image_sizes(show, size):
    with pytest.raises(ValueError, match=r'image_size of the calibration as \(width, height\) in pixels') as caught:
        read(arrays(image_size=size))
    if size == (0, 46):
        show(caught.value)
    if isinstance(size, tuple) and len(size) == 2:
        cameras = info()
        cameras['images']['CAM_BACK'].update(width=size[0], height=size[1])
        with pytest.raises(ValueError, match='the image size of CAM_BACK as') as of_one:
            read(cameras)
        if size == (62, None):
            show(of_one.value)


@fault('images of an info dict that are no dict', remedy='Create the info file anew: python tools/create_data.py.')
@pytest.mark.parametrize('images', [None, [], 'samples'])
def test_no_images(show, images):
    with pytest.raises(TypeError, match='`images` of the info dict of sample sample-7 as a dict') as caught:
        read(dict(info(), images=images))
    if images == []:
        show(caught.value)


@fault('a sample that the data set of the devkit does not have, or no such data set',
       remedy='Open the data set first, and name one of its samples: (NuScenes(version, dataroot), sample_token).')
def test_devkit(tmp_path, show):
    root = write_small_nuscenes(tmp_path / 'nuscenes', 'v1.0-mini', ('scene-0061', ), 1)
    with pytest.raises(ValueError, match="nuscenes has no sample 'sample-7'") as unknown:
        read((open_nuscenes(root, 'v1.0-mini'), 'sample-7'))
    with pytest.raises(TypeError, match=r'got a str in its place. Open the data set first') as unopened:
        read((str(root), 'scene-0061-sample-0'))
    show(unknown.value)
    show(unopened.value)


SHAPES = 'Give arrays or tensors of the shapes that docstrings of scene_qformer.geometry name.'
LIDAR2IMG = np.tile(np.array([[70., 31, 0, 0], [0, 23, -90, 0], [0, 1, 0, 0], [0, 0, 0, 1]]), (2, 1, 1))


@fault('points, pixels or matrices of other shapes than geometry takes', remedy=SHAPES)
@pytest.mark.parametrize('kind', [np.asarray, torch.as_tensor], ids=['arrays', 'tensors'])
@pytest.mark.parametrize(('function', 'arguments', 'match'), [
    ('to_homogeneous', [np.eye(5)], r'matrices of 3x3, 3x4 or 4x4, got shape \(5, 5\)'),
    ('to_homogeneous', [np.ones(3)], r'got shape \(3,\)'),
    ('project', [np.ones((7, 4)), LIDAR2IMG], r'points \(..., P, 3\), got shape \(7, 4\)'),
    ('project', [np.ones(3), LIDAR2IMG], r'points \(..., P, 3\), got shape \(3,\)'),
    ('project', [np.ones((7, 3)), LIDAR2IMG[0]], r'lidar2img \(..., N, 4, 4\), got shape \(4, 4\)'),
    ('project', [np.ones((7, 3)), LIDAR2IMG[:, :3]], r'lidar2img \(..., N, 4, 4\), got shape \(2, 3, 4\)'),
    ('unproject', [np.ones((2, 7, 2)), np.ones((2, 5)), LIDAR2IMG], r'got shapes \(2, 7, 2\) and \(2, 5\)'),
    ('unproject', [np.ones((2, 7, 3)), np.ones((2, 7)), LIDAR2IMG], r'got shapes \(2, 7, 3\) and \(2, 7\)'),
    ('ray_directions', [np.ones((7, 3)), np.eye(3)[None]], r'pixels \(P, 2\) or \(..., P, 2\), got shape \(7, 3\)'),
    ('ray_directions', [np.ones(2), np.eye(3)[None]], r'got shape \(2,\)'),
    ('ray_directions', [np.ones((7, 2)), np.eye(2)[None]], r'got shape \(1, 2, 2\)')])
def test_shapes(show, kind, function, arguments, match):
    with pytest.raises(ValueError, match=match) as caught:
        getattr(geometry, function)(*map(kind, arguments))
    if kind is np.asarray and 'Expected' in str(caught.value):
        show(caught.value)


@fault('pixels and depths of a frustum that are of other shapes', remedy=SHAPES)
@pytest.mark.parametrize(('pixels', 'depths'), [((7, 3), 5), ((2, 7, 2), 5), ((7, 2), (5, 1)), ((7, 2), ())])
def test_frustums(show, pixels, depths):
    with pytest.raises(ValueError, match=r'pixels \(P, 2\) and depths \(D,\), got shapes') as caught:
        geometry.frustum_points(torch.ones(pixels), torch.ones(depths), torch.from_numpy(LIDAR2IMG))
    if pixels == (7, 3):
        show(caught.value)


@fault('depth bins that are none', remedy='Say num_bins of at least 1, and depths with 0 < start < end, in metres.')
@pytest.mark.parametrize(('num_bins', 'start', 'end'), [
    (0, 1, 60), (-1, 1, 60), (64, 0, 60), (64, -1, 60), (64, 60, 1), (64, 7, 7), (64, float('nan'), 60)])
def test_depths(show, num_bins, start, end):
    with pytest.raises(ValueError, match=f'got num_bins={num_bins}, start={start}, end={end}') as caught:
        geometry.linear_increasing_depths(num_bins, start, end)
    if num_bins == 0:
        show(caught.value)


@fault('matrices of whole numbers are to be inverted', remedy='Give them in floating point: matrix.astype(float).')
@pytest.mark.parametrize('kind', [np.asarray, torch.as_tensor], ids=['arrays', 'tensors'])
def test_whole_numbers(show, kind):
    with pytest.raises(TypeError, match='Expected lidar2cam in floating point, got int64') as caught:
        geometry.camera_centers(kind(np.eye(4, dtype=np.int64)))
    show(caught.value)


@fault('frames of which some cameras have matrices', remedy='Complete the info file: python tools/create_data.py.')
@pytest.mark.parametrize(('camera', 'key'), [('CAM_FRONT', 'cam2img'), ('CAM_BACK', 'lidar2cam')])
def test_some_matrices(show, camera, key):
    results = info()
    del results['images'][camera][key]
    with pytest.raises(ValueError, match=f'Camera {camera} of sample sample-7 has no {key}, while other') as caught:
        TRANSFORMS.build(dict(type='mmdet3d.LoadSurroundImages'))(results)
    if key == 'lidar2cam':
        show(caught.value)
