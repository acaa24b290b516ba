"""Frames that a transform cannot edit as it should, mostly since the pipeline has another order."""
import numpy as np
import pytest
from mmdet3d.registry import TRANSFORMS

AREA = 'Transforms'
NAMES = ['CAM_FRONT', 'CAM_FRONT_LEFT', 'CAM_FRONT_RIGHT']
ORDER = 'Put the transforms in the order: load images, edit them, edit the scene, pad, pack.'


def fault(what, remedy, expected='told with the sample, which is left as it was'):
    return pytest.mark.fault(area=AREA, fault=what, expected=expected, remedy=remedy)


def frame(**changes):
    """Three cameras with images of 61x47."""
    cam2img = np.tile(np.eye(4), (3, 1, 1))
    cam2img[:, :2, :3] = [[70, 0, 31], [0, 90, 23]]
    results = dict(
        img=[np.full((47, 61, 3), number + 1, np.uint8) for number in range(3)], img_shape=(47, 61), token='sample-7',
        cam_names=list(NAMES), img_path=['a', 'b', 'c'], cam2img=cam2img, ori_cam2img=cam2img.copy(),
        lidar2cam=np.tile(np.eye(4), (3, 1, 1)))
    results.update(changes)
    return {key: value for key, value in results.items() if value is not None}


def refused(match, results, name, error=ValueError, **settings):
    """The error, after which images and matrices are as they were."""
    before = {key: np.array(results[key]) for key in ('img', 'cam2img', 'lidar2cam') if key in results}
    with pytest.raises(error, match=match) as caught:
        TRANSFORMS.build(dict(type=f'mmdet3d.{name}', **settings))(results)
    for key, value in before.items():
        np.testing.assert_array_equal(results[key], value)
    return caught.value


EDITING = {
    'ResizeSurroundImages': dict(size=(29, 23)), 'CropSurroundImages': dict(size=(29, 23)),
    'PadSurroundImages': dict(size_divisor=32), 'RandomWarpSurroundImages': {}, 'RandomMirrorScene': dict(prob=1.),
    'RandomDropCameras': dict(prob=1.), 'DropCameras': dict(cam_names=['CAM_FRONT'])}


@fault('a transform of images stands before the one that loads them', ORDER)
@pytest.mark.parametrize('images', [None, []], ids=['none', 'an empty list'])
@pytest.mark.parametrize('name', EDITING)
def test_no_images(show, name, images):
    error = refused(f'{name} found no images in sample sample-7', frame(img=images), name, **EDITING[name])
    if name == 'CropSurroundImages':
        show(error)


@fault('a frame is packed that has no images', 'Put LoadSurroundImages before it; behind LoadSceneTokens, '
       'PackSceneTokens.')
@pytest.mark.parametrize('images', [None, []], ids=['none', 'an empty list'])
def test_nothing_to_pack(show, images):
    error = refused('PackSceneInputs is to pack img, and sample sample-7 has no images', frame(img=images),
                    'PackSceneInputs')
    if images is None:
        show(error)


@fault('a crop that is larger than the images', 'Resize to at least that size first, or crop to less.')
@pytest.mark.parametrize('size', [(62, 47), (61, 48), (1000, 1000)])
def test_crops(show, size):
    error = refused(rf'Cannot crop {size[0]}x{size[1]} from images of 61x47 \(width x height\)', frame(),
                    'CropSurroundImages', size=size)
    if size == (62, 47):
        show(error)


@fault('a scene is to be moved, and the frame has no calibration',
       'Take the transform out of the pipeline of frames without calibration, or use a dataset with info files.')
@pytest.mark.parametrize('name', ['RandomMirrorScene', 'RandomRotateScaleScene'])
def test_no_calibration(show, name):
    results = frame(cam2img=None, ori_cam2img=None, lidar2cam=None)
    error = refused(f'{name} moves cameras and needs lidar2cam, which sample sample-7 does not have', results, name)
    if name == 'RandomMirrorScene':
        show(error)


@fault('a camera is to be dropped or mirrored, and another loader has not said which is which',
       'Load the images with LoadSurroundImages.')
@pytest.mark.parametrize(('name', 'lost'), [
    ('DropCameras', 'cam_names'), ('RandomMirrorScene', 'cam_names'), ('RandomMirrorScene', 'ori_cam2img'),
    ('RandomMirrorScene', 'img_path'), ('RandomMirrorScene', 'cam2img')])
def test_another_loader(show, name, lost):
    error = refused(f'{name} needs {lost}, which sample sample-7 does not have', frame(**{lost: None}), name,
                    **EDITING[name])
    if name == 'DropCameras':
        show(error)


@fault('images are mirrored after they were padded', ORDER)
def test_padded(show):
    padded = TRANSFORMS.build(dict(type='mmdet3d.PadSurroundImages', size_divisor=32))(frame())
    show(refused(r'RandomMirrorScene must come before padding: img_shape is \(47, 61\), but .* \(64, 64\)', padded,
                 'RandomMirrorScene', prob=1.))


@fault('a camera to drop that frames do not have', 'Correct cam_names of DropCameras.')
@pytest.mark.parametrize('names', [['CAM_BACK'], ['CAM_FRONT', 'cam_front'], ['']])
def test_unknown_cameras(show, names):
    error = refused(f'DropCameras is to drop {names[-1]}, but the cameras of sample sample-7 are CAM_FRONT, CAM_',
                    frame(), 'DropCameras', cam_names=names)
    if names == ['CAM_BACK']:
        show(error)


@fault('no camera would be left', 'Drop fewer; a frame without any image cannot be trained or tested on.')
@pytest.mark.parametrize('mask', [None, np.array([True, False, False])], ids=['all dropped', 'others are missing'])
def test_none_left(show, mask):
    error = refused('DropCameras leaves no camera of sample sample-7: it drops .* and the frame has CAM_FRONT, ',
                    frame(camera_mask=mask), 'DropCameras', cam_names=NAMES if mask is None else NAMES[:1])
    if mask is None:
        show(error)


@fault('so many cameras are to be left that none is ever dropped', 'Lower min_left, or take the transform out.')
@pytest.mark.parametrize('left', [3, 4])
def test_never_dropped(show, left):
    error = refused(f'RandomDropCameras leaves min_left={left} cameras, and frames have 3', frame(),
                    'RandomDropCameras', prob=0., min_left=left)
    if left == 3:
        show(error)


def test_a_single_camera_is_left():
    single = frame(img=frame()['img'][:1])
    assert TRANSFORMS.build(dict(type='mmdet3d.RandomDropCameras', prob=1.))(single)['img'][0].all()


@fault('frames without questions, of which some are to be chosen',
       'Use DrivingQuestionsDataset, or take ChooseQuestions out of the pipeline.')
def test_no_questions(show):
    show(refused('ChooseQuestions found no gt_text in sample sample-7', frame(), 'ChooseQuestions', num=3))


@fault('a world with questions is mirrored or scaled',
       'Take RandomMirrorScene out of the pipeline, and give RandomRotateScaleScene scale_range=(1.0, 1.0).',
       'told with the sample: texts tell left from right and give distances')
@pytest.mark.parametrize(('name', 'settings', 'change'), [
    ('RandomMirrorScene', dict(prob=1.), 'mirrored'),
    ('RandomRotateScaleScene', dict(scale_range=(1.1, 1.1)), 'scaled'),
    ('RandomRotateScaleScene', dict(scale_range=(0.9, 0.9)), 'scaled')])
def test_questions_that_are_no_longer_true(show, name, settings, change):
    results = frame(gt_text=[dict(id='a', type='count', turns=[('How many cars are to the left?', '3')])])
    changed = TRANSFORMS.build(dict(type=f'mmdet3d.{name}', **settings))(results)
    with pytest.raises(ValueError, match=f'Sample sample-7 was {change}, but it has questions') as caught:
        TRANSFORMS.build(dict(type='mmdet3d.PackSceneInputs', keys=('img', )))(changed)
    if settings != dict(scale_range=(0.9, 0.9)):
        show(caught.value)


@fault('a transform of your own has spoilt the intrinsics',
       'Correct that transform: it stands between loading and packing.')
@pytest.mark.parametrize('row', [(0, 0, 0, 0), (0, 0, 31, 0), (0, 90, 23, 0)])
def test_intrinsics(show, row):
    results = frame()
    results['cam2img'][1, 0] = row
    error = refused(r'cam2img of sample sample-7 after the image transforms, but the one at index \(1,\) is singular',
                    results, 'PackSceneInputs', keys=('img', ))
    if row == (0, 0, 31, 0):
        show(error)


@fault('a transform of your own has removed some of the matrices',
       'Correct that transform: cam2img and lidar2cam stay both, or neither.')
@pytest.mark.parametrize('key', ['cam2img', 'lidar2cam'])
def test_one_matrix(show, key):
    error = refused(f'The stack of sample sample-7 has no {key}, while other matrices', frame(**{key: None}),
                    'PackSceneInputs', keys=('img', ))
    if key == 'cam2img':
        show(error)
