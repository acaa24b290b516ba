"""Image edits: the intrinsics must follow the pixels, checked with a marked pixel that stands for a 3D point."""
import numpy as np
import pytest
from mmdet3d.registry import TRANSFORMS

from scene_qformer.datasets.transforms.image_geometry import mirrored_camera_order
from scene_qformer.geometry import project, to_homogeneous

HEIGHT, WIDTH, CAMERAS = 61, 83, 3
CAM2IMG = np.array([[53.0, 0, 41], [0, 59, 31], [0, 0, 1]])
POINTS = np.array([[0.3, -0.2, 1.0], [-0.1, 0.25, 1.0]])  # camera frame; one metre ahead


def blob(center):
    """A soft spot at an edge coordinate, grey 3 elsewhere."""
    v, u = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    spot = 240 * np.exp(-((u - center[0])**2 + (v - center[1])**2) / (2 * 2.5**2))
    return np.repeat((3 + spot)[..., None], 3, -1).astype(np.uint8)


def frame(point):
    """Three cameras that all see one point as a spot."""
    cam2img = np.stack([to_homogeneous(CAM2IMG)] * CAMERAS)
    pixel = project(POINTS[point:point + 1], cam2img[:1])[0][0, 0]
    return dict(
        img=[blob(pixel) for _ in range(CAMERAS)],
        cam2img=cam2img,
        lidar2cam=np.stack([np.eye(4)] * CAMERAS),
        img_shape=(HEIGHT, WIDTH),
        pad_shape=(HEIGHT, WIDTH))


def spot(image):
    """Where the spot is, in edge coordinates."""
    weight = np.maximum(image[..., 0].astype(float) - 20, 0)
    v, u = np.mgrid[:image.shape[0], :image.shape[1]] + 0.5
    return np.array([(u * weight).sum(), (v * weight).sum()]) / weight.sum()


def assert_spots_are_where_the_intrinsics_say(results, point, tolerance=0.1):
    pixels = project(POINTS[point:point + 1], results['cam2img'])[0][:, 0]
    for image, pixel in zip(results['img'], pixels):
        np.testing.assert_allclose(spot(image), pixel, atol=tolerance)
    return pixels


@pytest.mark.parametrize('point', [0, 1])
@pytest.mark.parametrize('config, shape', [
    (dict(type='ResizeSurroundImages', size=(47, 43)), (43, 47)),
    (dict(type='ResizeSurroundImages', size=(149, 97)), (97, 149)),
    (dict(type='ResizeSurroundImages', size=(47, 43), keep_ratio=True), (43, 59)),
    (dict(type='CropSurroundImages', size=(71, 53)), (53, 71)),
    (dict(type='CropSurroundImages', size=(71, 53), anchor=(0, 1)), (53, 71)),
    (dict(type='PadSurroundImages', size_divisor=32), (64, 96)),
    (dict(type='RandomWarpSurroundImages'), (HEIGHT, WIDTH)),
    (dict(type='RandomWarpSurroundImages', scale_range=(0.8, 1.2), shift_range=(0.1, 0.1), max_rotation=9), (HEIGHT,
                                                                                                         WIDTH)),
    (dict(type='RandomWarpSurroundImages', mirror_prob=1.0), (HEIGHT, WIDTH)),
])
def test_pixels_and_intrinsics_move_together(config, shape, point):
    np.random.seed(3)
    results = TRANSFORMS.build(config)(frame(point))
    assert all(image.shape == (*shape, 3) and image.dtype == np.uint8 for image in results['img'])
    assert results['pad_shape'] == shape
    assert_spots_are_where_the_intrinsics_say(results, point)


def test_a_chain_by_hand():
    # point 0 is at u = 53 * 0.3 + 41 = 56.9, v = 59 * -0.2 + 31 = 19.2
    # resized to cover 47x43: scale 43 / 61, 59 wide; cropped by 12, half of it on the left; padded below
    results = frame(0)
    for config in (dict(type='ResizeSurroundImages', size=(47, 43), keep_ratio=True),
                   dict(type='CropSurroundImages', size=(47, 43)), dict(type='PadSurroundImages', size_divisor=16)):
        results = TRANSFORMS.build(config)(results)
    pixels = assert_spots_are_where_the_intrinsics_say(results, 0)
    np.testing.assert_allclose(pixels, [[56.9 * 59 / 83 - 6, 19.2 * 43 / 61]] * CAMERAS, rtol=1e-12)
    assert results['img_shape'] == (43, 47) and results['pad_shape'] == (48, 48)
    assert (results['img'][0][43:] == 0).all() and (results['img'][0][:, 47:] == 0).all()


def test_warp_draws_for_each_camera_or_once():
    np.random.seed(0)
    config = dict(type='RandomWarpSurroundImages', scale_range=(0.5, 1.5))
    each = TRANSFORMS.build(config)(frame(0))['cam2img'][:, 0, 0] / 53
    assert len(set(each)) == CAMERAS and (each > 0.5).all() and (each < 1.5).all()
    once = TRANSFORMS.build(dict(config, per_camera=False))(frame(0))['cam2img'][:, 0, 0]
    assert len(set(once)) == 1 and once[0] != 53


def test_inputs_that_make_no_sense():
    with pytest.raises(ValueError, match='Cannot crop 84x61 from images of 83x61'):
        TRANSFORMS.build(dict(type='CropSurroundImages', size=(84, 61)))(frame(0))
    with pytest.raises(ValueError, match=r'scale_range \(low, high\) with 0 < low <= high, got \(0, 1\)'):
        TRANSFORMS.build(dict(type='RandomWarpSurroundImages', scale_range=(0, 1)))


def test_mirrored_camera_order():
    names = ['CAM_FRONT', 'CAM_FRONT_RIGHT', 'CAM_FRONT_LEFT', 'CAM_BACK', 'CAM_BACK_LEFT', 'CAM_BACK_RIGHT']
    assert mirrored_camera_order(names) == [0, 2, 1, 3, 5, 4]
    assert mirrored_camera_order(['CAM_LEFT', 'CAM_FRONT']) == [0, 1]
