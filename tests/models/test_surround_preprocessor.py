import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import Det3DDataSample

from scene_qformer.models import SurroundImagePreprocessor

OURS, THEIRS = 'SurroundImagePreprocessor', 'Det3DDataPreprocessor'
SETTINGS = dict(mean=[101.5, 97.3, 89.1], std=[57.1, 56.3, 55.9])


def preprocess(type, images, samples=None, training=False, **settings):
    model = MODELS.build(dict(type=type, **settings))
    return model(dict(inputs=dict(img=[image.clone() for image in images]), data_samples=samples), training)


@pytest.mark.parametrize('dtype', [torch.uint8, torch.float32])
@pytest.mark.parametrize('settings', [
    SETTINGS, dict(SETTINGS, bgr_to_rgb=True), dict(SETTINGS, bgr_to_rgb=True, pad_size_divisor=16),
    dict(SETTINGS, pad_size_divisor=8, pad_value=7), dict(bgr_to_rgb=True), dict()],
    ids=['plain', 'rgb', 'padded', 'pad-value', 'no-normalisation', 'nothing'])
@pytest.mark.parametrize('batch_size', [1, 3])
def test_bit_by_bit_as_mmdet3d(batch_size, settings, dtype):
    images = [torch.randint(0, 256, (2, 3, 13, 29)).to(dtype) for _ in range(batch_size)]
    samples = [[Det3DDataSample(metainfo=dict(number=number)) for number in range(batch_size)] for _ in range(2)]
    ours = preprocess(OURS, images, samples[0], **settings)
    theirs = preprocess(THEIRS, images, samples[1], **settings)
    assert torch.equal(ours['inputs']['imgs'], theirs['inputs']['imgs'])
    assert ours['inputs']['imgs'].dtype == torch.float32 and set(ours['inputs']) == set(theirs['inputs'])
    assert [sample.metainfo for sample in ours['data_samples']] == [
        sample.metainfo for sample in theirs['data_samples']]
    assert 'pad_shape' in ours['data_samples'][0].metainfo


def test_what_came_in_stays():
    image = torch.rand(2, 3, 5, 7)
    before = image.clone()
    model = SurroundImagePreprocessor(**SETTINGS)
    model(dict(inputs=dict(img=[image])))
    assert torch.equal(image, before)


def test_frames_of_several_sizes_go_the_old_way():
    images = [torch.rand(2, 3, 5, 7), torch.rand(2, 3, 11, 3)]
    ours, theirs = (preprocess(type, images, **SETTINGS)['inputs']['imgs']
                    for type in (OURS, THEIRS))
    assert torch.equal(ours, theirs) and ours.shape == (2, 2, 3, 11, 7)


def test_single_images_go_the_old_way():
    images = [torch.rand(3, 5, 7)]
    ours, theirs = (preprocess(type, images, **SETTINGS)['inputs']['imgs']
                    for type in (OURS, THEIRS))
    assert torch.equal(ours, theirs)
