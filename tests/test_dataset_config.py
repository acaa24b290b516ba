"""The one data set inside its wrappers, and what a step of its pipeline is, by whatever name."""
import pytest
from mmdet3d.registry import TRANSFORMS
from mmengine.config import Config

from scene_qformer.dataset_config import innermost_dataset, is_transform
from scene_qformer.datasets.transforms import LoadSurroundImages
from scene_qformer.token_cache import plain_test_dataset


@TRANSFORMS.register_module()
class LoadFromElsewhere(LoadSurroundImages):
    """As a user derives it."""


def test_inside_wrappers():
    frames = dict(type='Frames', pipeline=[])
    assert innermost_dataset(frames) is frames
    assert innermost_dataset(dict(type='RepeatDataset', dataset=dict(type='Other', dataset=frames))) is frames


def test_several_data_sets_are_refused():
    several = dict(type='ConcatDataset', datasets=[dict(pipeline=[]), dict(pipeline=[])])
    with pytest.raises(ValueError, match='of one data set with a pipeline, .* got ConcatDataset of 2 data sets.* the '
                                         'config that the encoder was trained with'):
        innermost_dataset(dict(type='RepeatDataset', dataset=several))
    with pytest.raises(ValueError, match='got ConcatDataset of 2 data sets'):
        plain_test_dataset(Config(dict(test_dataloader=dict(dataset=several))))
    with pytest.raises(ValueError, match='got one without type. '):
        innermost_dataset({})


@pytest.mark.parametrize('kind', ['LoadSurroundImages', 'mmdet3d.LoadSurroundImages', LoadSurroundImages,
                                  'LoadFromElsewhere'])
def test_the_loader_by_any_name_keeps_no_images(kind):
    step = dict(type=kind, size=(7, 5), cache=True)
    assert is_transform(step, 'LoadSurroundImages')
    assert is_transform(step, 'LoadSurroundImages', subclasses=False) == (kind != 'LoadFromElsewhere')
    cfg = Config(dict(test_dataloader=dict(dataset=dict(pipeline=[step, dict(type='PackSceneInputs', cache='mine')]))))
    loading, packing = plain_test_dataset(cfg)['pipeline']
    assert 'cache' not in loading and loading['size'] == (7, 5) and packing['cache'] == 'mine'
    assert cfg.test_dataloader.dataset.pipeline[0].cache is True  # the caller's stays as it is


def test_other_transforms():
    assert not is_transform(dict(type='PackSceneInputs'), 'LoadSurroundImages')
    assert not is_transform(dict(type='NobodyRegisteredThis'), 'LoadSurroundImages')
