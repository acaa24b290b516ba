"""A frame with broken images or a broken calibration, under each policy."""
import pickle
import struct
import zlib

import cv2
import numpy as np
import pytest
from mmdet3d.registry import TRANSFORMS
from mmengine.registry import init_default_scope

from scene_qformer.datasets.camera_faults import UnusableFrame

AREA = 'Loading'
POLICY = ("Replace the file. To train or test in spite of it, give the dataset of the config on_fault='mask', or in "
          "training 'skip': docs/missing_cameras.md.")
CALIBRATION = ("Correct the calibration, or create the info file anew: python tools/create_data.py. To go on in spite "
               "of it, give the dataset on_fault='mask', or in training 'skip'.")
HEIGHT, WIDTH = 47, 61
SIZE = (29, 23)


@pytest.fixture(autouse=True)
def mmdet3d_scope():
    init_default_scope('mmdet3d')


def encoded(suffix):
    image = np.random.default_rng(5).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return cv2.imencode(suffix, image)[1].tobytes()


JPEG, PNG = encoded('.jpg'), encoded('.png')


def jpeg_saying(height, width):
    """A JPEG whose frame header is changed."""
    at = JPEG.index(b'\xff\xc0')
    return JPEG[:at + 5] + struct.pack('>HH', height, width) + JPEG[at + 9:]


def png_saying(height, width):
    """A PNG whose header is changed, with a checksum that is right."""
    header = b'IHDR' + struct.pack('>II', width, height) + PNG[24:29]
    return PNG[:12] + header + struct.pack('>I', zlib.crc32(header)) + PNG[33:]


def bmp_saying(height, width):
    content = encoded('.bmp')
    return content[:18] + struct.pack('<ii', width, height) + content[26:]


def noise(length):
    return np.random.default_rng(length).integers(0, 256, length, dtype=np.uint8).tobytes()


CUT = {f'JPEG of {len(JPEG)} bytes, cut at {place}': JPEG[:place]
       for place in sorted({3, 20, 21, 100, 300, 600, *range(700, len(JPEG) - 2, len(JPEG) // 7), len(JPEG) - 2})}
CUT_PNG = {f'PNG cut at {share:.2f}': PNG[:int(share * len(PNG))] for share in (0.003, 0.01, 0.1, 0.5, 0.9, 0.99)}
NO_IMAGE = {
    'nothing': b'', 'a zero': b'\0', 'zeros': bytes(1000), 'a text': b'not found\n',
    'an answer of a server': b'<!DOCTYPE html><html><body>404 Not Found</body></html>',
    'a pickle': pickle.dumps(dict(a=1)), 'the start of a JPEG': b'\xff\xd8',
    'start and end of a JPEG': b'\xff\xd8\xff\xd9',
    'the start of a PNG': PNG[:8],
    'a pointer of Git LFS': b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n',
    **{f'{length} random bytes': noise(length) for length in (1, 7, 64, 1000, 20000)},
    'random bytes in a JPEG': b'\xff\xd8' + noise(500) + b'\xff\xd9',
    'a JPEG without its tables': JPEG[:2] + JPEG[JPEG.index(b'\xff\xc0'):],
}
SIZES = {
    **{f'JPEG that says {height}x{width}': jpeg_saying(height, width)
       for height, width in ((65535, 65535), (30000, 40000), (8000, 8000), (0, 61), (47, 0), (0, 0), (65535, 61 * 40))},
    **{f'PNG that says {height}x{width}': png_saying(height, width)
       for height, width in ((2**31 - 1, 2**31 - 1), (10**6, 10**6), (20000, 20000), (0, 61), (47, 0), (47, 4000000))},
    **{f'BMP that says {height}x{width}': bmp_saying(height, width)
       for height, width in ((2**31 - 1, 2**31 - 1), (100000, 100000), (9000, 9000))},
}


def frame(folder, **changes):
    """Three cameras; ``changes`` replace entries of the second."""
    images = {}
    for number in range(3):
        path = folder / f'{number}.jpg'
        path.write_bytes(JPEG)
        images[f'CAM_{number}'] = dict(
            img_path=str(path), cam2img=[[70., 0, 31], [0, 90., 23], [0, 0, 1]], lidar2cam=np.eye(4).tolist())
    images['CAM_1'].update(changes)
    return dict(images=images, token='sample-7')


def load(results, **policy):
    return TRANSFORMS.build(dict(type='LoadSurroundImages', size=SIZE))(dict(results, **policy))


def check_every_policy(results, show=None, error=ValueError, match='CAM_1 of sample sample-7'):
    """Stop and skip raise, each in its way; mask goes on with the two others, as if the third were black."""
    with pytest.raises(error, match=match) as caught:
        load(results)
    assert not isinstance(caught.value, UnusableFrame)
    if show is not None:
        show(caught.value)
    with pytest.raises(UnusableFrame, match=match) as skipped:
        load(results, on_fault='skip')
    assert skipped.value.token == 'sample-7'
    masked = load(results, on_fault='mask')
    assert masked['camera_mask'].tolist() == [True, False, True]
    assert masked['camera_faults'] == {'CAM_1': str(skipped.value)}
    assert not masked['img'][1].any() and masked['img'][0].any() and masked['img'][2].any()
    assert np.isfinite(masked['cam2img']).all() and np.isfinite(masked['lidar2cam']).all()


def attack_file(tmp_path, content, show):
    results = frame(tmp_path)
    (tmp_path / '1.jpg').write_bytes(content)
    check_every_policy(results, show)


@pytest.mark.fault(area=AREA, fault='an image file that is cut off', expected='stop, skip or mask, as the config says',
                   remedy=POLICY)
@pytest.mark.parametrize('name', [*CUT, *CUT_PNG])
def test_cut_off(tmp_path, show, name):
    last = list(CUT)[-1]
    attack_file(tmp_path, {**CUT, **CUT_PNG}[name], show if name == last else None)


@pytest.mark.fault(area=AREA, fault='a file that is no image', expected='stop, skip or mask, as the config says',
                   remedy=POLICY)
@pytest.mark.parametrize('name', NO_IMAGE)
def test_no_image(tmp_path, show, name):
    attack_file(tmp_path, NO_IMAGE[name], show if name in (
        'nothing', 'a pointer of Git LFS', 'a JPEG without its tables') else None)


@pytest.mark.fault(area=AREA, fault='a header that says an absurd size', expected='refused before it is decoded',
                   remedy=POLICY)
@pytest.mark.parametrize('name', SIZES)
def test_sizes(tmp_path, show, name, monkeypatch):
    def decode(content, flags):
        raise AssertionError('it was decoded')

    results = frame(tmp_path)
    content = SIZES[name]
    (tmp_path / '1.jpg').write_bytes(content)
    loader = TRANSFORMS.build(dict(type='LoadSurroundImages', size=SIZE))
    monkeypatch.setattr(cv2, 'imdecode', decode)
    with pytest.raises(ValueError, match='CAM_1 of sample sample-7') as caught:
        loader._load(str(tmp_path / '1.jpg'), 'camera CAM_1 of sample sample-7')
    monkeypatch.undo()
    check_every_policy(results, show if name in ('JPEG that says 65535x65535', 'JPEG that says 8000x8000') else None)
    assert 'CAM_1' in str(caught.value)


def no_file(path):
    path.unlink()


def a_folder(path):
    path.unlink()
    path.mkdir()


def a_dangling_link(path):
    path.unlink()
    path.symlink_to(path.with_name('nowhere.jpg'))


def a_link_to_itself(path):
    path.unlink()
    path.symlink_to(path)


@pytest.mark.fault(area=AREA, fault='an image file that is not there, or a folder',
                   expected='stop, skip or mask, as the config says',
                   remedy='Check data_root and data_prefix, and whether all archives were unpacked. ' + POLICY)
@pytest.mark.parametrize('how', [no_file, a_folder, a_dangling_link, a_link_to_itself])
def test_not_there(tmp_path, show, how):
    results = frame(tmp_path)
    how(tmp_path / '1.jpg')
    check_every_policy(results, show if how in (no_file, a_folder) else None, error=OSError)


NAN, INF = float('nan'), float('inf')
GOOD = [[70., 0, 31], [0, 90., 23], [0, 0, 1]]
MATRICES = {
    'NaN in cam2img': dict(cam2img=[[70., 0, NAN], [0, 90., 23], [0, 0, 1]]),
    'cam2img all NaN': dict(cam2img=np.full((3, 3), NAN)),
    'infinite focal length': dict(cam2img=[[INF, 0, 31], [0, 90., 23], [0, 0, 1]]),
    'focal length 0': dict(cam2img=[[0., 0, 31], [0, 90., 23], [0, 0, 1]]),
    'cam2img all zero': dict(cam2img=np.zeros((3, 3))),
    'a row twice': dict(cam2img=[[70., 0, 31], [70., 0, 31], [0, 0, 1]]),
    'cam2img without its last row': dict(cam2img=GOOD[:2]),
    'cam2img of 9 numbers': dict(cam2img=np.ravel(GOOD)),
    'cam2img of 2x2': dict(cam2img=np.eye(2)),
    'cam2img of 5x5': dict(cam2img=np.eye(5)),
    'a stack of cam2img': dict(cam2img=[GOOD]),
    'rows that differ in length': dict(cam2img=[[70., 0], [0, 90., 23], [0, 0, 1]]),
    'cam2img is a text': dict(cam2img='70 0 31'),
    'cam2img is a dict': dict(cam2img=dict(fx=70)),
    'cam2img is empty': dict(cam2img=[]),
    'cam2img is None': dict(cam2img=None),
    'NaN in lidar2cam': dict(lidar2cam=np.diag([1, 1, 1, NAN])),
    'lidar2cam infinite': dict(lidar2cam=np.diag([1, INF, 1, 1])),
    'lidar2cam all zero': dict(lidar2cam=np.zeros((4, 4))),
    'lidar2cam without a rotation': dict(lidar2cam=np.diag([0., 0, 0, 1])),
    'lidar2cam of 3x3': dict(lidar2cam=np.eye(3)),
    'lidar2cam of 16 numbers': dict(lidar2cam=np.eye(4).ravel()),
    'lidar2cam of 4x3': dict(lidar2cam=np.eye(4)[:, :3]),
    'lidar2cam of texts': dict(lidar2cam=[['a'] * 4] * 4),
    'lidar2cam is None': dict(lidar2cam=None),
}


@pytest.mark.fault(area=AREA, fault='a calibration that is broken', expected='stop, skip or mask, as the config says',
                   remedy=CALIBRATION)
@pytest.mark.parametrize('name', MATRICES)
def test_calibrations(tmp_path, show, name):
    check_every_policy(frame(tmp_path, **MATRICES[name]),
                       show if name in ('focal length 0', 'cam2img of 9 numbers') else None)


@pytest.mark.fault(area=AREA, fault='a frame without any camera that can be used', expected='an error, also with mask',
                   remedy='Replace the files; a frame without any image cannot be trained or tested on.')
@pytest.mark.parametrize('policy', ['stop', 'mask', 'skip'])
def test_no_camera_left(tmp_path, show, policy):
    results = frame(tmp_path)
    for number in range(3):
        (tmp_path / f'{number}.jpg').unlink()
    with pytest.raises((ValueError, OSError), match='of sample sample-7') as caught:
        load(results, on_fault=policy)
    if policy == 'mask':
        assert 'None of the 3 cameras of sample sample-7 can be used' in str(caught.value)
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='the cameras of a frame have images of different sizes', expected='refused',
                   remedy='Give LoadSurroundImages a size in the pipeline of the config.')
def test_different_sizes(tmp_path, show):
    results = frame(tmp_path)
    (tmp_path / '1.jpg').write_bytes(cv2.imencode('.jpg', np.zeros((23, 31, 3), np.uint8))[1].tobytes())
    with pytest.raises(ValueError, match='differ in size') as caught:
        TRANSFORMS.build(dict(type='LoadSurroundImages'))(results)
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='images are to be kept in memory as they are', expected='refused',
                   remedy='Give LoadSurroundImages a size in the pipeline of the config.')
def test_cache_without_a_size(show):
    with pytest.raises(ValueError, match='would fill the memory') as caught:
        TRANSFORMS.build(dict(type='LoadSurroundImages', cache=True))
    show(caught.value)
