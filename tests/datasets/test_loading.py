"""Loading images: values, intrinsics, speed-ups that must not move a pixel, and broken files."""
import shutil

import cv2
import numpy as np
import pytest
from mmdet3d.registry import TRANSFORMS

from scene_qformer.datasets.transforms.loading import LoadSurroundImages, jpeg_shape, reduction

CAM2IMG = [[70.0, 0, 31], [0, 90.0, 23], [0, 0, 1]]


def smooth_image(height, width):
    """Values that grow evenly along both axes, so that a shift of half a pixel shows."""
    v, u = np.mgrid[:height, :width].astype(np.float32) + 0.5
    return np.stack([u * 200 / width, v * 200 / height, np.full_like(u, 90)], -1).astype(np.uint8)


def frame(folder, shapes, suffix='jpg'):
    images = {}
    for number, (height, width) in enumerate(shapes):
        path = folder / f'{number}.{suffix}'
        cv2.imwrite(str(path), smooth_image(height, width), [cv2.IMWRITE_JPEG_QUALITY, 100])
        images[f'CAM_{number}'] = dict(img_path=str(path), cam2img=CAM2IMG, lidar2cam=np.eye(4).tolist())
    return dict(images=images, token='sample-7')


def test_as_stored(tmp_path):
    results = LoadSurroundImages()(frame(tmp_path, [(46, 62)] * 3))
    assert [image.shape for image in results['img']] == [(46, 62, 3)] * 3
    assert results['img'][0].dtype == np.uint8
    assert np.abs(results['img'][0].astype(int) - smooth_image(46, 62)).max() <= 3
    assert results['cam_names'] == ['CAM_0', 'CAM_1', 'CAM_2']
    assert results['cam2img'].shape == results['lidar2cam'].shape == (3, 4, 4)
    np.testing.assert_array_equal(results['cam2img'][1, :3, :3], CAM2IMG)
    assert results['ori_shape'] == results['img_shape'] == results['pad_shape'] == (46, 62)


@pytest.mark.parametrize('size', [(31, 23), (13, 11), (17, 29), (124, 92), (200, 30)])
@pytest.mark.parametrize('suffix', ['jpg', 'png'])
def test_resized_pixels_and_intrinsics_agree(tmp_path, size, suffix):
    """The image is a ramp, so its value at u must be the one that the resized intrinsics say."""
    height, width = 92, 124
    results = LoadSurroundImages(size=size)(frame(tmp_path, [(height, width)], suffix))
    image, (new_width, new_height) = results['img'][0].astype(float), size
    assert image.shape == (new_height, new_width, 3)
    u, v = np.arange(new_width) + 0.5, np.arange(new_height) + 0.5
    inner = (slice(new_height // 4, -new_height // 4), slice(new_width // 4, -new_width // 4))
    # 200 grey levels over the width: an error of a quarter of a pixel of the small image is 50 / new_width levels
    assert np.abs(image[..., 0].mean(0) - u * 200 / new_width + 0.5)[inner[1]].max() < max(50 / new_width, 1.2)
    assert np.abs(image[..., 1].mean(1) - v * 200 / new_height + 0.5)[inner[0]].max() < max(50 / new_height, 1.2)
    scale_u, scale_v = new_width / width, new_height / height
    np.testing.assert_allclose(results['cam2img'][0, :2, :3],
                               [[70 * scale_u, 0, 31 * scale_u], [0, 90 * scale_v, 23 * scale_v]])
    np.testing.assert_array_equal(results['ori_cam2img'][0, :3, :3], CAM2IMG)
    assert results['ori_shape'] == (height, width)


@pytest.mark.parametrize('shape, size, factor', [
    ((900, 1600), (336, 336), 2),  # 1/4 would be 225 high
    ((900, 1600), (224, 128), 4),  # 1/8 would be 112.5 high: libjpeg rounds up, which moves pixels
    ((896, 1600), (200, 112), 8),
    ((900, 1600), (800, 450), 2),
    ((900, 1600), (801, 450), 1),
    ((901, 1600), (100, 100), 1),
])
def test_reduction(shape, size, factor):
    assert reduction(shape, size) == factor


def test_jpeg_shape_with_a_thumbnail_and_without_a_frame():
    encoded = cv2.imencode('.jpg', smooth_image(29, 37))[1].tobytes()
    thumbnail = cv2.imencode('.jpg', smooth_image(5, 7))[1].tobytes()
    segment = b'\xff\xe1' + (len(thumbnail) + 2).to_bytes(2, 'big') + thumbnail
    assert jpeg_shape(encoded) == (29, 37)
    assert jpeg_shape(encoded[:2] + segment + encoded[2:]) == (29, 37)
    assert jpeg_shape(b'\xff\xd8\xff\xd9') is None


def test_the_cache_gives_the_same_without_reading_again(tmp_path):
    load = LoadSurroundImages(size=(31, 23), cache=True)
    first = load(frame(tmp_path, [(46, 62)] * 2))
    again = frame(tmp_path / '.', [(46, 62)] * 2)
    for path in tmp_path.glob('*.jpg'):
        path.write_bytes(b'gone')
    second = load(again)
    np.testing.assert_array_equal(first['img'], second['img'])
    np.testing.assert_array_equal(first['cam2img'], second['cam2img'])
    with pytest.raises(ValueError, match='read-only'):
        second['img'][0][:] = 0


@pytest.mark.parametrize('config', [
    dict(type='ResizeSurroundImages', size=(17, 13)),
    dict(type='CropSurroundImages', size=(17, 13)),
    dict(type='PadSurroundImages', size_divisor=16),
    dict(type='RandomWarpSurroundImages', scale_range=(0.5, 0.6)),
    dict(type='RandomMirrorScene', prob=1.0),
    dict(type='MultiViewWrapper', transforms=[dict(type='PhotoMetricDistortion3D')], process_fields=['img'],
         collected_keys=[]),
])
def test_edits_leave_the_cached_images_alone(tmp_path, config):
    load = LoadSurroundImages(size=(31, 23), cache=True)
    results = load(frame(tmp_path, [(46, 62)] * 2))
    before = np.array(results['img'])
    edited = TRANSFORMS.build(config)(results)
    assert np.array(edited['img']).shape != before.shape or not np.array_equal(edited['img'], before)
    np.testing.assert_array_equal(load(frame(tmp_path, [(46, 62)] * 2))['img'], before)


def test_the_cache_needs_a_size():
    with pytest.raises(ValueError, match='cache=True needs a size'):
        LoadSurroundImages(cache=True)


class TestErrors:

    WHERE = r'0.jpg \(camera CAM_0 of sample sample-7\)'

    def test_missing_file(self, tmp_path):
        results = frame(tmp_path, [(46, 62)])
        shutil.move(tmp_path / '0.jpg', tmp_path / 'elsewhere.jpg')
        with pytest.raises(FileNotFoundError, match=f'no image file .*{self.WHERE}.\nCheck data_root'):
            LoadSurroundImages()(results)

    @pytest.mark.parametrize('keep', [0.3, 0.6, 0.99])
    @pytest.mark.parametrize('progressive', [False, True])
    def test_truncated_jpeg(self, tmp_path, keep, progressive):
        results = frame(tmp_path, [(46, 62)])
        noise = np.random.default_rng(0).integers(0, 255, (46, 62, 3), dtype=np.uint8)
        options = [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
        content = cv2.imencode('.jpg', noise, options)[1].tobytes()
        (tmp_path / '0.jpg').write_bytes(content[:int(keep * len(content))])
        assert cv2.imread(str(tmp_path / '0.jpg')) is not None  # OpenCV alone would not have noticed
        with pytest.raises(ValueError, match=f'JPEG file .*{self.WHERE} is truncated: .*\nUnpack or download'):
            LoadSurroundImages(size=(31, 23))(results)

    def test_truncated_jpeg_with_a_whole_thumbnail(self, tmp_path):
        results = frame(tmp_path, [(46, 62)])
        content = (tmp_path / '0.jpg').read_bytes()
        thumbnail = cv2.imencode('.jpg', smooth_image(5, 7))[1].tobytes()
        segment = b'\xff\xe1' + (len(thumbnail) + 2).to_bytes(2, 'big') + thumbnail
        (tmp_path / '0.jpg').write_bytes(content[:2] + segment + content[2:-20])
        with pytest.raises(ValueError, match='is truncated'):
            LoadSurroundImages()(results)

    def test_bytes_after_the_end_are_fine(self, tmp_path):
        results = frame(tmp_path, [(46, 62)])
        with open(tmp_path / '0.jpg', 'ab') as file:
            file.write(b'\0\0trailing')
        assert LoadSurroundImages()(results)['img'][0].shape == (46, 62, 3)

    @pytest.mark.parametrize('content', [b'', b'<html>404</html>', b'\xff\xd8\xff\xd9'])
    def test_no_image(self, tmp_path, content):
        results = frame(tmp_path, [(46, 62)])
        (tmp_path / '0.jpg').write_bytes(content)
        with pytest.raises(ValueError, match=f'Cannot decode the image file .*{self.WHERE}: {len(content)} bytes'):
            LoadSurroundImages(size=(31, 23))(results)

    def test_singular_intrinsic(self, tmp_path):
        results = frame(tmp_path, [(46, 62)] * 2)
        results['images']['CAM_1']['cam2img'] = [[70.0, 0, 31], [0, 0.0, 23], [0, 0, 1]]
        with pytest.raises(ValueError, match=r'invertible cam2img of camera CAM_1 of sample sample-7, .* singular'):
            LoadSurroundImages()(results)

    def test_different_sizes_need_a_size(self, tmp_path):
        results = frame(tmp_path, [(46, 62), (23, 31)])
        with pytest.raises(ValueError, match=r"sample-7 differ in size .*'CAM_1': \(23, 31\)"):
            LoadSurroundImages()(results)
        loaded = LoadSurroundImages(size=(31, 23))(results)
        np.testing.assert_allclose(loaded['cam2img'][:, 0, 0], [35, 70])
