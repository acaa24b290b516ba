"""Data sets without a frame, camera or class that could be used, samplers without a step, and their configs."""
import pickle

import pytest
from datasets.small_nuscenes import write_small_nuscenes
from mmdet3d.registry import DATASETS
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.registry import DATA_SAMPLERS, init_default_scope

from scene_qformer.dataset_config import innermost_dataset
from scene_qformer.datasets.nuscenes_infos import create_info_files
from scene_qformer.inference import spread_indices
from scene_qformer.random_batch import random_batch, random_batch_like
from scene_qformer.token_cache import plain_test_dataset

REFUSED = 'refused, with what was expected'


@pytest.fixture(autouse=True)
def mmdet3d_scope():
    init_default_scope('mmdet3d')


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('frames') / 'nuscenes'
    write_small_nuscenes(folder, 'v1.0-mini', ('scene-0061', ))
    create_info_files(folder, 'v1.0-mini')
    return folder


def build(root, ann_file='nuscenes_infos_train.pkl', **settings):
    return DATASETS.build(dict(type='NuScenesSceneDataset', data_root=str(root), ann_file=ann_file, **settings))


@pytest.mark.fault(area='Configs', fault='cameras of a data set that are no list of different names', expected=REFUSED,
                   remedy="Say cam_names=('CAM_FRONT', 'CAM_BACK'), each once, also for a single one: ('CAM_FRONT', ).")
@pytest.mark.parametrize(('names', 'match'), [
    ('CAM_FRONT', "to be a list or tuple of one or more different names .* got 'CAM_FRONT'"), (None, 'got None'),
    (6, 'got 6'), ([1, 2], r'got \[1, 2\]'), ((), r'got \(\)'),
    (['CAM_FRONT', 'CAM_BACK', 'CAM_FRONT'], "got .'CAM_FRONT', 'CAM_BACK', 'CAM_FRONT'.")])
def test_camera_names(root, show, names, match):
    with pytest.raises(ValueError, match=f'Expected cam_names of NuScenesSceneDataset .*{match}') as caught:
        build(root, cam_names=names)
    if isinstance(names, str) or names and isinstance(names, list) and len(names) == 3:
        show(caught.value)


@pytest.mark.fault(area='Configs', fault='classes of a data set that nuScenes does not have', expected=REFUSED,
                   remedy='Correct metainfo=dict(classes=...), or leave it out for all ten.')
@pytest.mark.parametrize(('classes', 'match'), [
    (['car', 'cart'], 'to be some of car, truck, .*; got car, cart'), ([], r'got \[\]'),
    (['car', 'car'], "different names .* got .'car', 'car'."), ('car', "got 'car'"), ([0, 1], r'got \[0, 1\]')])
def test_classes(root, show, classes, match):
    with pytest.raises(ValueError, match=f'metainfo.classes of NuScenesSceneDataset .*{match}') as caught:
        build(root, metainfo=dict(classes=classes))
    if classes == ['car', 'cart']:
        show(caught.value)


@pytest.mark.fault(area='Info files', fault='an info file without frames', expected=REFUSED,
                   remedy='Use another ann_file, or a root with scenes of that split.')
def test_no_frames(root, show):
    content = pickle.loads((root / 'nuscenes_infos_train.pkl').read_bytes())
    (root / 'empty.pkl').write_bytes(pickle.dumps(dict(content, data_list=[])))
    for on_fault in ('stop', 'skip', 'mask'):
        with pytest.raises(ValueError, match='empty.pkl holds no frames: the root') as caught:
            build(root, 'empty.pkl', on_fault=on_fault)
    show(caught.value)


@pytest.mark.fault(area='Loading', fault='frames without boxes are to be replaced, and all are without',
                   expected='refused: the search for another frame would never end',
                   remedy='Set filter_empty_gt=False, or name other classes in metainfo.')
def test_no_boxes(root, show):
    settings = dict(filter_empty_gt=True, metainfo=dict(classes=('bus', 'trailer')))
    with pytest.raises(ValueError, match='No frame of .*train.pkl has a box of the classes bus, trailer') as caught:
        build(root, **settings)
    show(caught.value)
    assert len(build(root, filter_empty_gt=True)) == 3  # with boxes
    assert len(build(root, test_mode=True, **settings)) == 3  # nothing is left out of a test


class Numbers:
    """Samples that are their index."""

    def __init__(self, number, seeds_samples=True):
        self.number, self.seeds_samples = number, seeds_samples

    def __len__(self):
        return self.number


@pytest.mark.fault(area='Configs', fault='ResumableSampler with a data set that does not seed its samples',
                   expected='refused', remedy="Put it into dataset=dict(type='SeededDataset', dataset=...).")
def test_unseeded(show):
    with pytest.raises(ValueError, match='seeds its samples, and Numbers does not') as caught:
        DATA_SAMPLERS.build(dict(type='ResumableSampler', dataset=Numbers(5, seeds_samples=False)))
    show(caught.value)


@pytest.mark.fault(area='Configs', fault='a sampler without samples', expected='refused: epochs would pass in silence',
                   remedy='Check ann_file, filter_cfg and indices of the dataset.')
def test_no_samples(show):
    with pytest.raises(ValueError, match='The Numbers of ResumableSampler holds no samples') as caught:
        DATA_SAMPLERS.build(dict(type='ResumableSampler', dataset=Numbers(0)))
    show(caught.value)


@pytest.mark.fault(area='Configs', fault='a negative seed', expected='refused before a worker meets it',
                   remedy='Say a seed from 0 on, e.g. randomness=dict(seed=0).')
@pytest.mark.parametrize('seed', [-1, -2 ** 40])
def test_seeds(show, seed):
    with pytest.raises(ValueError, match=f'seed of ResumableSampler to be at least 0, got {seed}') as caught:
        DATA_SAMPLERS.build(dict(type='ResumableSampler', dataset=Numbers(5), seed=seed))
    if seed == -1:
        show(caught.value)


def joint(number, **settings):
    return DATA_SAMPLERS.build(dict(type='JointBatchSampler', sampler=DefaultSampler(range(number)), **settings))


@pytest.mark.fault(area='Configs', fault='drop_last, and fewer samples than one joint batch',
                   expected='refused: epochs would pass in silence',
                   remedy='Set drop_last=False, or lower batch_size, or give the dataset more frames.')
@pytest.mark.parametrize(('number', 'batch_size'), [(7, 8), (1, 2), (0, 2)])
def test_no_step(show, number, batch_size):
    with pytest.raises(ValueError, match=f'no step: {number} samples for 1 processes .*batch_size={batch_size}, and dr'
                       ) as caught:
        joint(number, batch_size=batch_size, drop_last=True)
    if number == 7:
        show(caught.value)
    assert not number or list(joint(number, batch_size=batch_size))


@pytest.mark.fault(area='Processes', fault='fewer samples than processes in the last step', expected='warned',
                   remedy='None is needed; another batch_size or number of processes may deal them out evenly.')
@pytest.mark.parametrize(('number', 'batch_size', 'repeated'), [(7, 1, 1), (1, 4, 1), (4, 2, 0)])
def test_repeated(monkeypatch, warned, show, number, batch_size, repeated):
    monkeypatch.setattr('scene_qformer.datasets.joint_batch_sampler.get_dist_info', lambda: (0, 2))
    joint(number, batch_size=batch_size)
    assert len(warned) == repeated
    if number == 7:
        show(warned[0])
        assert '7 samples for 2 processes with batch_size=1: 1 come twice' in warned[0]


@pytest.mark.fault(area='Configs', fault='no frame is to be shown', expected=REFUSED,
                   remedy='Say --num 1 or more, and name a data set with frames.')
@pytest.mark.parametrize(('total', 'number'), [(0, 3), (5, 0), (5, -1)])
def test_no_frame_to_choose(show, total, number):
    with pytest.raises(ValueError, match=f'one to choose .* got {total} and {number}') as caught:
        spread_indices(total, number)
    if total == 0:
        show(caught.value)


def config(dataset):
    return Config(dict(test_dataloader=dict(dataset=dataset)))


@pytest.mark.fault(area='Configs', fault='a config that does not say how large images are', expected=REFUSED,
                   remedy='Give --image-size WIDTH HEIGHT.')
@pytest.mark.parametrize('steps', [[], [dict(type='PackSceneInputs')]])
def test_no_image_size(show, steps):
    with pytest.raises(ValueError, match='No transform in .* has a `size`: give the image size') as caught:
        random_batch_like(config(dict(pipeline=steps)))
    if steps:
        show(caught.value)


@pytest.mark.fault(area='Configs', fault='a random batch of images, cameras or samples that are none', expected=REFUSED,
                   remedy='Give --image-size WIDTH HEIGHT and --batch-size, whole numbers of at least 1.')
@pytest.mark.parametrize(('settings', 'match'), [
    (dict(image_size=(0, 32)), r'Expected the image size as \(width, height\) .* got \(0, 32\)'),
    (dict(image_size=(32.5, 32)), 'got '), (dict(image_size=64), 'got 64'),
    (dict(num_cameras=0), 'num_cameras=0, batch_size=1'), (dict(batch_size=-1), 'num_cameras=6, batch_size=-1')])
def test_random_batches(show, settings, match):
    with pytest.raises(ValueError, match=match) as caught:
        random_batch(**settings)
    if settings in (dict(image_size=(0, 32)), dict(num_cameras=0)):
        show(caught.value)


SEVERAL = dict(type='ConcatDataset', datasets=[dict(pipeline=[]), dict(pipeline=[])])


@pytest.mark.fault(area='Configs', fault='several data sets, or none, where one is taken apart', expected=REFUSED,
                   remedy='Give the config that the encoder was trained with, or one with a single test set.')
@pytest.mark.parametrize(('dataset', 'got'), [
    (SEVERAL, 'ConcatDataset of 2 data sets'), (dict(type='RepeatDataset', times=2, dataset=SEVERAL), 'ConcatDataset'),
    ({}, 'one without type'), (dict(type='Frames'), 'Frames')])
def test_several(show, dataset, got):
    for read in (innermost_dataset, lambda parts: plain_test_dataset(config(parts)),
                 lambda parts: random_batch_like(config(parts))):
        with pytest.raises(ValueError, match=f'config of one data set with a pipeline, .* got {got}') as caught:
            read(dataset)
    if got != 'Frames' and 'dataset' not in dataset:
        show(caught.value)


def test_one_inside_wrappers():
    """What a wrapper hides is found, without classes and with a step that lacks its type."""
    wrapped = dict(type='RepeatDataset', times=2, dataset=dict(pipeline=[dict(type='Load', size=(32, 16)), {}]))
    assert random_batch_like(config(wrapped))['inputs']['img'][0].shape == (6, 3, 16, 32)
    assert plain_test_dataset(config(wrapped))['pipeline'][1] == {}
