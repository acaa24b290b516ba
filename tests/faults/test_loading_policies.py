"""What the policies for broken samples do in a whole data set, a training and a model."""
import pickle
import re
from types import SimpleNamespace

import numpy as np
import pytest
from datasets.small_nuscenes import write_small_nuscenes
from mmdet3d.registry import DATASETS
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from scene_qformer.datasets.camera_faults import MAX_SKIPPED
from scene_qformer.datasets.nuscenes_infos import create_info_files
from scene_qformer.engine import LoadingFaultsHook
from scene_qformer.optimization import optimize_model
from tests.faults.test_loading import CALIBRATION, POLICY, SIZE
from tests.optimization.small_models import build as build_model
from tests.optimization.small_models import images, samples

AREA = 'Loading'


@pytest.fixture(autouse=True)
def mmdet3d_scope():
    init_default_scope('mmdet3d')


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('broken') / 'nuscenes'
    write_small_nuscenes(folder, 'v1.0-mini', ('scene-0061', 'scene-0553', 'scene-0103'))
    create_info_files(folder, 'v1.0-mini')
    return folder


def build(root, on_fault='stop', split='train', infos=None, **kwargs):
    """``infos`` edits the info file's frames."""
    name = f'nuscenes_infos_{split}.pkl'
    if infos is not None:
        content = pickle.loads((root / name).read_bytes())
        infos(content['data_list'])
        name = 'edited.pkl'
        (root / name).write_bytes(pickle.dumps(content))
    return DATASETS.build(dict(
        type='NuScenesSceneDataset', data_root=str(root), ann_file=name, on_fault=on_fault, test_mode=split == 'val',
        pipeline=[dict(type='LoadSurroundImages', size=SIZE), dict(type='PackSceneInputs', keys=('img', ))], **kwargs))


def lose_entry(frames):
    del frames[1]['images']['CAM_BACK']


def lose_path(frames):
    del frames[1]['images']['CAM_BACK']['img_path']


def lose_matrix(frames):
    del frames[1]['images']['CAM_BACK']['cam2img']


def no_dict(frames):
    frames[1]['images']['CAM_BACK'] = None


def another_file(frames):
    frames[1]['images']['CAM_BACK']['img_path'] = 'no such file.jpg'


def no_number(frames):
    frames[1]['images']['CAM_BACK']['lidar2cam'][0][0] = float('nan')


@pytest.mark.fault(area=AREA, fault='a camera that is missing from the info file',
                   expected='stop, skip or mask, as the config says', remedy=CALIBRATION)
@pytest.mark.parametrize('edit', [lose_entry, lose_path, lose_matrix, no_dict, another_file, no_number])
def test_frames_of_a_dataset(root, show, edit):
    token = build(root).get_data_info(1)['token']
    with pytest.raises((ValueError, OSError), match=rf'{token}.*CAM_BACK|CAM_BACK.*{token}') as caught:
        build(root, infos=edit)[1]
    if edit is lose_entry:
        show(str(caught.value))
    sample = build(root, 'skip', infos=edit)[1]['data_samples']
    assert sample.sample_token == build(root).get_data_info(2)['token']
    assert list(sample.skipped_samples) == [token] and 'CAM_BACK' in sample.skipped_samples[token]
    masked = build(root, 'mask', infos=edit)
    assert [name for name, there in zip(masked[1]['data_samples'].cam_names, masked[1]['data_samples'].camera_mask)
            if not there] == ['CAM_BACK']
    assert list(masked[1]['data_samples'].camera_faults) == ['CAM_BACK']
    assert 'camera_mask' not in masked[0]['data_samples']


@pytest.mark.fault(area=AREA, fault='samples are skipped or cameras masked in a training',
                   expected='the first ones are told as they come, and how many before a validation and at the end of '
                   'the epoch', remedy=POLICY)
@pytest.mark.parametrize('policy', ['skip', 'mask'])
def test_what_is_left_out_is_told(root, warned, show, policy):
    dataset = build(root, policy, infos=lose_entry)
    token = dataset.get_data_info(1)['token']
    hook = LoadingFaultsHook(num_told=1)
    runner = SimpleNamespace(logger=MMLogger.get_current_instance(), epoch=0)
    for index in (0, 1, 1, 2):
        hook.before_train_iter(runner, 0, dict(data_samples=[dataset[index]['data_samples']]))
    hook.after_train_epoch(runner) if policy == 'skip' else hook.before_val_epoch(runner)
    said, further, total = warned
    assert token in said and ('was skipped' if policy == 'skip' else 'is masked') in said and 'CAM_BACK' in said
    assert 'are counted, and told at the end' in further and ': 2 ' in total and 'in 4 samples' in total
    for text in warned:
        show(text)


def with_mask(imgs, mask):
    masked = samples(imgs)
    masked[-1].set_metainfo(dict(camera_mask=mask, sample_token='sample-7'))
    return masked


@pytest.mark.fault(area=AREA, fault='a camera_mask that is none, or leaves no camera', expected='refused by the model',
                   remedy='Correct the transform or code that sets camera_mask; leave frames without any camera out.')
@pytest.mark.parametrize('mask', [
    np.ones(3, dtype=bool), np.ones((1, 2), dtype=bool), np.array([1, 0]), np.array([1., np.nan]),
    np.zeros(2, dtype=bool)], ids=['another length', 'another shape', 'integers', 'numbers', 'no camera'])
def test_masks(show, mask):
    model, imgs = build_model(), images(2)
    with pytest.raises(ValueError, match='camera_mask of sample sample-7 as|cameras of sample sample-7') as caught:
        model(dict(imgs=imgs), with_mask(imgs, mask), mode='tensor')
    if len(mask) == 3 or not mask.any():
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='a camera is missing, and the model was optimised for all of them',
                   expected='refused', remedy='optimize=dict(missing_cameras=True, ...), which keeps both models.')
@pytest.mark.parametrize('mode', ['tensor', 'predict'])
def test_optimised_for_all_cameras(show, mode):
    model, imgs = optimize_model(build_model(), dict(precision='float32')), images(2)
    with pytest.raises(ValueError, match='here one is missing') as caught:
        model(dict(imgs=imgs), with_mask(imgs, np.array([True, False])), mode=mode)
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='samples of a test are to be skipped', expected='refused: every sample counts',
                   remedy="Use on_fault='mask' in val_dataloader and test_dataloader.")
def test_skip_in_a_test(root, show):
    with pytest.raises(ValueError, match="on_fault='skip' is for training") as caught:
        build(root, 'skip', 'val')
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='a camera that no frame has', expected='an error, also with mask',
                   remedy='Correct cam_names in the config.')
@pytest.mark.parametrize('policy', ['stop', 'mask', 'skip'])
def test_misspelt_camera(root, show, policy):
    with pytest.raises(ValueError, match='no camera CAM_FRNT|has a camera CAM_FRNT') as caught:
        build(root, policy, cam_names=('CAM_FRNT', 'CAM_BACK'))
    if policy == 'mask':
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='an unknown policy', expected='refused', remedy="Use 'stop', 'skip' or 'mask'.")
@pytest.mark.parametrize('policy', ['ignore', 'Stop', '', None, True])
def test_unknown_policy(root, show, policy):
    with pytest.raises(ValueError, match="Expected on_fault to be one of 'stop', 'skip', 'mask'") as caught:
        build(root, policy)
    if policy == 'ignore':
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='all frames in a row are broken', expected='skipping stops, and says why',
                   remedy='Check data_root: this is no single broken file.')
def test_skipping_is_bounded(root, show):
    def lose_all(frames):
        for info in frames:
            info['images']['CAM_BACK']['img_path'] = 'not_there.jpg'

    dataset = build(root, 'skip', infos=lose_all)
    bound = min(MAX_SKIPPED, len(dataset))
    with pytest.raises(ValueError, match=rf'{bound} of {bound} samples in a row cannot be used') as caught:
        dataset[1]
    assert re.search('no image file', str(caught.value))
    show(caught.value)
