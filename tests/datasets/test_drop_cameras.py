"""Taking cameras away: how many, which, and what is left as it was."""
import numpy as np
import pytest
from mmdet3d.registry import TRANSFORMS

from scene_qformer.datasets.transforms import DropCameras, RandomDropCameras

NAMES = ['CAM_FRONT', 'CAM_LEFT', 'CAM_RIGHT', 'CAM_BACK', 'CAM_ROOF']


def frame(**entries):
    return dict(img=[np.full((2, 3, 3), number + 1, np.uint8) for number in range(5)], cam_names=list(NAMES),
                token='sample-7', cam2img=np.arange(80.).reshape(5, 4, 4), **entries)


def test_each_number_as_often():
    drop = RandomDropCameras(max_dropped=3, prob=0.5)
    dropped = []
    for _ in range(4000):
        results = drop(frame())
        mask = results.get('camera_mask', np.ones(5, dtype=bool))
        assert [bool(image.any()) for image in results['img']] == mask.tolist()
        np.testing.assert_array_equal(results['cam2img'], frame()['cam2img'])
        dropped.append(~mask)
    numbers = np.bincount(np.sum(dropped, axis=1), minlength=6) / 4000
    np.testing.assert_allclose(numbers, [1 / 2, 1 / 6, 1 / 6, 1 / 6, 0, 0], atol=0.03)
    np.testing.assert_allclose(np.mean(dropped, axis=0), 1 / 5, atol=0.03)  # (1 + 2 + 3) / 6 of 5, each alike


@pytest.mark.parametrize('min_left, present, most', [(1, 5, 4), (2, 5, 3), (1, 3, 2), (2, 2, 0), (3, 2, 0)])
def test_some_are_always_left(min_left, present, most):
    drop = RandomDropCameras(max_dropped=9, prob=1., min_left=min_left)
    mask = np.arange(5) < present
    left = []
    for _ in range(300):
        after = drop(frame(camera_mask=mask))['camera_mask']
        assert not (after & ~mask).any()
        left.append(after.sum())
    assert min(left) == present - most and max(left) == (present - 1 if most else present)
    assert mask.sum() == present  # not written to


def test_what_is_drawn_does_not_depend_on_what_came_out():
    """Later transforms then draw the same with another prob."""
    after = []
    for prob in (0., 0.5, 1.):
        np.random.seed(3)
        RandomDropCameras(prob=prob)(frame())
        after.append(np.random.rand())
    assert after[0] == after[1] == after[2]


@pytest.mark.parametrize('settings', [dict(max_dropped=0), dict(prob=1.1), dict(prob=-0.1), dict(min_left=0)])
def test_settings_out_of_range(settings):
    with pytest.raises(ValueError, match=f'Expected {next(iter(settings))} of RandomDropCameras to be a'):
        TRANSFORMS.build(dict(type='mmdet3d.RandomDropCameras', **settings))


def test_by_name():
    results = DropCameras(['CAM_BACK', 'CAM_LEFT'])(frame(camera_mask=np.array([True, True, False, True, True])))
    assert results['camera_mask'].tolist() == [True, False, False, False, True]
    assert [image.max() for image in results['img']] == [1, 0, 0, 0, 5]
    assert 'camera_mask' not in DropCameras([])(frame())


def test_names_that_are_not_there():
    with pytest.raises(ValueError, match='drop CAM_SIDE, but the cameras of sample sample-7 are CAM_FRONT, CAM_LEFT'):
        DropCameras(['CAM_LEFT', 'CAM_SIDE'])(frame())
    with pytest.raises(ValueError, match='leaves no camera of sample sample-7'):
        DropCameras(NAMES)(frame())
