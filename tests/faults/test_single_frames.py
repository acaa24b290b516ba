"""Images that somebody brings for a frame of their own, and settings of what makes scene tokens of it."""
import cv2
import numpy as np
import pytest
import torch

from scene_qformer import SceneTokenizer
from scene_qformer.datasets import NUSCENES_CAMERAS
from scene_qformer.datasets.single_frame import frame_results
from tests.small_encoder import make_small_encoder

AREA = 'Single frames'
IMAGES = ('Give for each camera of the model a file, its content as bytes, or an array (H, W, 3) uint8: '
          'docs/scene_tokens.md.')
NAMES = ('CAM_FRONT', 'CAM_BACK')
IMAGE = np.full((47, 61, 3), 7, np.uint8)
CAMERAS = dict(cam2img=[[[70., 0, 31], [0, 90., 23], [0, 0, 1]]] * 2, lidar2cam=[np.eye(4)] * 2)


def fault(what, expected='refused, with what was expected', remedy=IMAGES):
    return pytest.mark.fault(area=AREA, fault=what, expected=expected, remedy=remedy)


def take(images, cameras=CAMERAS, **settings):
    return frame_results(images, cameras, NAMES, **settings)


def test_the_good_one():
    assert take([IMAGE, IMAGE])['images']['CAM_BACK']['img_path'].shape == IMAGE.shape


@fault('images that are not one for each camera')
@pytest.mark.parametrize(('images', 'error', 'match', 'shown'), [
    (dict(CAM_FRONT=IMAGE), ValueError, 'no image of CAM_BACK: the model reads CAM_FRONT, CAM_BACK, and there are', 1),
    ({}, ValueError, 'no image of CAM_FRONT, CAM_BACK: .* there are none', 0),
    ([IMAGE], ValueError, 'Expected 2 images, of CAM_FRONT, CAM_BACK in this order; got 1', 1),
    ([IMAGE] * 3, ValueError, 'got 3', 0), ((), ValueError, 'got 0', 0),
    (None, ValueError, 'no images: none were given, and the cameras name no file of CAM_FRONT, CAM_BACK', 1),
    ('front.jpg', TypeError, 'as a dict by camera name, or as a list; got str', 1), (b'abc', TypeError, 'got bytes', 0),
    ({'front.jpg', 'back.jpg'}, TypeError, 'or as a list; got set', 0), (7, TypeError, 'got int', 0),
    ((image for image in (IMAGE, IMAGE)), TypeError, 'got generator', 0)])
def test_not_one_each(show, images, error, match, shown):
    with pytest.raises(error, match=match) as caught:
        take(images)
    if shown:
        show(caught.value)


@fault('an image in memory that is none')
@pytest.mark.parametrize(('image', 'error', 'match'), [
    (IMAGE / 255, ValueError, r'image of CAM_BACK as uint8 \(H, W, 3\), got float64 \(47, 61, 3\)'),
    (IMAGE.transpose(2, 0, 1), ValueError, r'got uint8 \(3, 47, 61\)'),
    (IMAGE[..., 0], ValueError, r'got uint8 \(47, 61\)'),
    (IMAGE[:0], ValueError, r'got uint8 \(0, 61, 3\)'), (IMAGE[:, :0], ValueError, r'got uint8 \(47, 0, 3\)'),
    (IMAGE[None], ValueError, r'got uint8 \(1, 47, 61, 3\)'), (np.zeros((47, 61, 4), np.uint8), ValueError, '61, 4'),
    (IMAGE.astype(np.int64), ValueError, 'got int64'), (IMAGE.astype(object), ValueError, 'got object'),
    (torch.from_numpy(IMAGE), TypeError, 'as a file, bytes of one, or a NumPy array, got Tensor'),
    (IMAGE.tolist(), TypeError, 'got list'), (None, TypeError, 'got NoneType'), (7, TypeError, 'got int')])
def test_no_images(show, image, error, match):
    with pytest.raises(error, match=match) as caught:
        take([IMAGE, image])
    assert 'CAM_BACK' in str(caught.value)
    if 'float64' in match or 'Tensor' in match:
        show(caught.value)


@fault('images of another size than the calibration is for', remedy='Give images as the camera took them, or scale the '
       'first two rows of cam2img along with them.')
@pytest.mark.parametrize('kind', ['array', 'bytes', 'file'])
def test_sizes(tmp_path, show, kind):
    small = cv2.resize(IMAGE, (31, 23))
    (tmp_path / 'small.png').write_bytes(cv2.imencode('.png', small)[1].tobytes())
    given = dict(array=small, bytes=(tmp_path / 'small.png').read_bytes(), file=tmp_path / 'small.png')[kind]
    with pytest.raises(ValueError, match='CAM_BACK is 31x23, but its calibration is for 61x47') as stated:
        take([IMAGE, given], dict(CAMERAS, image_size=(61, 47)))
    with pytest.raises(ValueError, match=r'CAM_BACK is 31x23, but the principal point .* at \(31.0, 23.0\)') as guessed:
        take([IMAGE, given])
    show(stated.value)
    show(guessed.value)


@fault('channels in an order that is none', remedy="Say channel_order='rgb', or 'bgr' for what cv2.imread gives.")
@pytest.mark.parametrize('order', ['grb', 'RGB', '', None, 3])
def test_channel_order(show, order):
    with pytest.raises(ValueError, match="Expected channel_order 'rgb' or 'bgr', got") as caught:
        take([IMAGE, IMAGE], channel_order=order)
    with pytest.raises(ValueError, match="Expected channel_order 'rgb' or 'bgr', got"):
        SceneTokenizer('none.py', 'none.pth', channel_order=order)  # before anything is read
    if order == 'grb':
        show(caught.value)


@pytest.fixture(scope='module')
def encoder(tmp_path_factory):
    return make_small_encoder(tmp_path_factory.mktemp('encoder'))


@pytest.fixture(scope='module')
def tokenizer(encoder):
    return SceneTokenizer(encoder.config, encoder.checkpoint)


@pytest.fixture
def frame():
    """Images and calibration of the six cameras of the encoder."""
    names = len(NUSCENES_CAMERAS)
    cam2img = [[[170., 0, 148], [0, 170, 92], [0, 0, 1]]] * names
    return [np.full((184, 296, 3), 7, np.uint8)] * names, dict(cam2img=cam2img, lidar2cam=[np.eye(4)] * names)


@fault('a batch whose images and cameras do not belong together',
       remedy='Give two lists of equal length: the images of each frame, and the cameras of each frame.')
@pytest.mark.parametrize(('images', 'cameras', 'match'), [
    (1, 2, 'got 2 of cameras and 1 of images'), (3, 2, 'got 2 of cameras and 3 of images'),
    (6, 1, 'got 1 of cameras and 6 of images'), (0, 0, 'got 0 of cameras and 0 of images'),
    (None, 0, 'got 0 of cameras and 0 of images'), ({}, 1, 'got 1 of cameras and 0 of images'),
    (7.5, 1, 'got 1 of cameras and images of float')])
def test_batches(show, tokenizer, frame, images, cameras, match):
    given = [frame[0]] * images if isinstance(images, int) else images
    with pytest.raises(ValueError, match=f'{match}. For one frame, give its cameras as they are') as caught:
        tokenizer(given, [frame[1]] * cameras)
    if images == 6:
        show(caught.value)


@fault('images in memory, and a config whose test pipeline begins with another loader',
       remedy='Give paths, or begin the test pipeline with LoadSurroundImages.')
def test_another_loader(show, encoder, frame):
    cfg = encoder.cfg
    cfg.test_dataloader.dataset.pipeline[0] = dict(type='LoadMultiViewImageFromFiles')
    with pytest.raises(ValueError, match='begins with another loader than LoadSurroundImages') as caught:
        SceneTokenizer(cfg, encoder.checkpoint)(*frame)
    show(caught.value)


@fault('a camera cannot be used, and on_fault is mask', 'warned, with camera and reason; tokens come from the others',
       "Bring the camera's image and calibration; on_fault='stop' makes an error of it.")
@pytest.mark.parametrize('lost', ['image', 'matrix'])
def test_masked(show, encoder, frame, lost):
    images, cameras = list(frame[0]), dict(frame[1])
    if lost == 'image':
        images[3] = None
    else:
        cameras['cam2img'] = np.array(cameras['cam2img'])
        cameras['cam2img'][3, 0, 0] = 0
    tokenizer = SceneTokenizer(encoder.config, encoder.checkpoint, on_fault='mask')
    with pytest.warns(UserWarning, match=f'{NUSCENES_CAMERAS[3]} is masked: ') as warned:
        tokens = tokenizer(images, cameras)
    assert tokens.isfinite().all() and not torch.equal(tokens, tokenizer(*frame))
    if lost == 'image':
        show(str(next(entry.message for entry in warned if 'is masked' in str(entry.message))))


@fault('a frame without any camera, and on_fault is mask', 'an error', 'Bring images: a frame of none has no tokens.')
def test_all_masked(show, encoder, frame):
    with pytest.raises(ValueError, match='None of the 6 cameras of sample in_memory can be used') as caught:
        SceneTokenizer(encoder.config, encoder.checkpoint, on_fault='mask')([None] * 6, frame[1])
    show(caught.value)
