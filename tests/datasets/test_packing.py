"""Images are packed as mmdet3d packs them, faster where they are plain."""
import numpy as np
import pytest
import torch
from mmdet3d.datasets.transforms import Pack3DDetInputs

from scene_qformer.datasets.transforms.packing import PackSceneInputs


def frame(dtype=np.uint8, channels=3, sizes=((5, 7), (5, 7))):
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (*size, channels)).astype(dtype) for size in sizes]


def read_only(images):
    for image in images:
        image.flags.writeable = False  # as they come from a loader that keeps them
    return images


@pytest.mark.parametrize('images', [
    frame(), frame(sizes=((11, 3), )), frame(np.float32), frame(channels=2), read_only(frame()),
    [image[1:4, 2:6] for image in frame()], [image[::-1, ::-1] for image in frame()],
    [image[..., ::-1] for image in frame()],
], ids=['plain', 'one camera', 'floats', 'two channels', 'read only', 'cropped', 'turned', 'colours turned'])
def test_images_are_those_of_mmdet3d(images):
    packed = PackSceneInputs(keys=('img', ))(dict(img=list(images)))['inputs']['img']
    expected = Pack3DDetInputs(keys=('img', ))(dict(img=list(images)))['inputs']['img']
    assert packed.dtype == expected.dtype and packed.is_contiguous()
    assert torch.equal(packed, expected) and packed.shape[:2] == (len(images), images[0].shape[2])


def test_what_is_packed_is_a_copy():
    images = frame()
    packed = PackSceneInputs(keys=('img', ))(dict(img=images))['inputs']['img']
    before = packed.clone()
    images[0][:] = 0
    assert torch.equal(packed, before) and packed[0].any()


def test_images_that_nobody_wants_are_left_out():
    assert 'img' not in PackSceneInputs(keys=('gt_bboxes_3d', ))(dict(img=frame())).get('inputs', {})


def test_images_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match='same shape'):
        PackSceneInputs(keys=('img', ))(dict(img=frame(sizes=((5, 7), (7, 5)))))
