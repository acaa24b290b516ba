"""Frames joined with questions: from files to what the language model gets."""
import logging
import pickle
from collections import Counter

import pytest
import torch
from mmdet3d.registry import DATASETS, MODELS, TASK_UTILS
from mmengine.dataset import pseudo_collate
from question_files import drivelm, generated, nuscenes_qa, write

from scene_qformer.datasets import driving_questions_dataset
from scene_qformer.datasets.questions import DrivingQuestion

PIPELINE = [
    dict(type='LoadSurroundImages', size=(74, 46)),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='PackSceneInputs'),
]
# the train file of the small root has three samples each of scene-0061 and scene-0553
TOKENS = ('scene-0061-sample-2', 'scene-0061-sample-2', 'scene-0553-sample-0')


def build(root, path, source='GeneratedQuestions', pipeline=PIPELINE, ann_file='nuscenes_infos_train.pkl', **options):
    return DATASETS.build(
        dict(type='DrivingQuestionsDataset', questions=dict(type=source, path=str(path)), data_root=str(root),
             ann_file=ann_file, pipeline=pipeline, **options))


@pytest.fixture
def path(tmp_path):
    return write(tmp_path, generated(TOKENS))


def test_a_frame_with_its_questions(small_root, path):
    dataset = build(small_root, path)
    assert len(dataset) == 2  # of six frames
    packed = dataset[0]
    sample = packed['data_samples']
    assert packed['inputs']['img'].shape == (6, 3, 46, 74)
    assert sample.sample_token == 'scene-0061-sample-2' and sample.sample_idx == 2
    assert sample.lidar2img.shape == (6, 4, 4) and len(sample.gt_instances_3d.labels_3d) == 3
    assert sample.gt_text == [
        dict(id='scene-0061-sample-2-0', type='count', turns=[('How many cars are there?', '2')]),
        dict(id='scene-0061-sample-2-1', type='ego', turns=[('Is the ego vehicle moving?', 'yes')])]
    assert [text['type'] for text in dataset[1]['data_samples'].gt_text] == ['where']
    assert dataset[1]['data_samples'].sample_token == 'scene-0553-sample-0'


def test_drivelm_joins_by_its_frame_tokens(small_root, tmp_path):
    """With an info file, its image paths are not needed: the frames come with their calibration."""
    tokens = ('scene-0553-sample-1', 'scene-0061-sample-0', 'scene-0061-sample-1')
    dataset = build(small_root, write(tmp_path, drivelm(tokens)), 'DriveLMQuestions')
    assert [len(dataset[i]['data_samples'].gt_text) for i in range(3)] == [3, 4, 2]
    assert dataset[2]['data_samples'].lidar2img.shape == (6, 4, 4)


def test_at_test_time(small_root, path):
    pipeline = [PIPELINE[0], dict(type='PackSceneInputs', keys=('img', ))]
    sample = build(small_root, path, pipeline=pipeline, test_mode=True)[0]['data_samples']
    assert len(sample.gt_text) == 2 and len(sample.eval_ann_info['gt_labels_3d']) == 3


def test_naming_the_key_does_no_harm(small_root, path):
    pipeline = [PIPELINE[0], dict(type='PackSceneInputs', keys=('img', 'gt_text'))]
    assert len(build(small_root, path, pipeline=pipeline)[0]['data_samples'].gt_text) == 2


def test_frames_without_questions_are_not_even_counted(small_root, path):
    """The table of instances that mmdet3d logs is of the frames that are used."""
    alone = DATASETS.build(dict(type='NuScenesSceneDataset', data_root=str(small_root),
                                ann_file='nuscenes_infos_train.pkl'))
    joined = build(small_root, path)
    assert [3 * number for number in joined.num_ins_per_cat] == alone.num_ins_per_cat


def test_through_the_preprocessor(small_root, path):
    dataset = build(small_root, path)
    preprocessor = MODELS.build(dict(type='Det3DDataPreprocessor', pad_size_divisor=16))
    batch = preprocessor(pseudo_collate([dataset[0], dataset[1]]), training=True)
    assert batch['inputs']['imgs'].shape == (2, 6, 3, 48, 80)
    assert [[text['id'] for text in sample.gt_text] for sample in batch['data_samples']] == [
        ['scene-0061-sample-2-0', 'scene-0061-sample-2-1'], ['scene-0553-sample-0-2']]
    assert batch['data_samples'][1].gt_text[0]['turns'] == [('Where is the bus?', 'front left, 11 to 20 m')]


@pytest.mark.parametrize('num_workers', [0, 1])
def test_a_data_loader(small_root, path, num_workers):
    dataset = pickle.loads(pickle.dumps(build(small_root, path)))  # what a worker gets where processes are spawned
    (batch, ) = torch.utils.data.DataLoader(dataset, 2, num_workers=num_workers, collate_fn=pseudo_collate)
    assert [len(sample.gt_text) for sample in batch['data_samples']] == [2, 1]
    assert batch['data_samples'][0].gt_text[1]['turns'] == [('Is the ego vehicle moving?', 'yes')]


def test_a_pickle_of_the_dataset_is_no_larger_for_the_questions_of_others(small_root, tmp_path):
    """Workers get a pickle of the dataset: questions are in it once, and those that joined no frame are not."""
    content = generated(TOKENS)
    few = len(pickle.dumps(build(small_root, write(tmp_path, content))))
    template = content['questions'][0]
    content['questions'] += [dict(template, id=f'x{i}', sample_token=f'other-{i}') for i in range(5000)]
    many = len(pickle.dumps(build(small_root, write(tmp_path, content))))
    assert many == few


def test_what_is_left_out_is_told(small_root, tmp_path, monkeypatch):
    tokens = ('scene-0103-sample-0', 'scene-0061-sample-1', 'scene-0103-sample-0')  # scene-0103 is in val
    path = write(tmp_path, generated(tokens))
    told = {}
    monkeypatch.setattr(driving_questions_dataset, 'print_log',
                        lambda message, logger, level=logging.INFO: told.update({level: message}))
    assert len(build(small_root, path)) == 1
    assert f'{path}: 1 questions about 1 of 6 frames of' in told[logging.INFO]
    assert f'{path}: 2 of 3 questions are left out: they are about 1 samples that' in told[logging.WARNING]
    assert told[logging.WARNING].endswith('nuscenes_infos_train.pkl does not have, e.g. scene-0103-sample-0.')


def test_a_split_by_scene(small_root, tmp_path):
    path = write(tmp_path, generated(TOKENS))
    questions = dict(type='GeneratedQuestions', path=str(path), scenes=['scene-0553'])
    dataset = DATASETS.build(dict(type='DrivingQuestionsDataset', questions=questions, data_root=str(small_root),
                                  ann_file='nuscenes_infos_train.pkl'))
    assert len(dataset) == 1 and dataset.get_data_info(0)['token'] == 'scene-0553-sample-0'


def test_a_source_that_is_no_file(small_root):

    @TASK_UTILS.register_module(force=True)
    class TwoQuestions:

        def load(self):
            return [DrivingQuestion(id=token, type='x', turns=(('Where?', 'Here.'), ), sample_token=token)
                    for token in ('scene-0061-sample-1', 'elsewhere')]

    try:
        dataset = DATASETS.build(dict(type='DrivingQuestionsDataset', questions=dict(type='TwoQuestions'),
                                      data_root=str(small_root), ann_file='nuscenes_infos_train.pkl'))
    finally:
        TASK_UTILS.module_dict.pop('TwoQuestions')
    assert len(dataset) == 1


class TestErrors:

    def test_no_match(self, small_root, tmp_path):
        with pytest.raises(ValueError, match=r'None of the 2 samples that .*questions.json asks about \(first: t0\) is '
                                             'among the 6 frames of .*nuscenes_infos_train.pkl.\nDo both come'):
            build(small_root, write(tmp_path, generated()))

    def test_no_question_file(self, small_root, tmp_path):
        with pytest.raises(FileNotFoundError, match='There is no question file'):
            build(small_root, tmp_path / 'nowhere.json')

    def test_answers_kept_back_are_not_learned(self, small_root, tmp_path):
        content = drivelm(('scene-0553-sample-1', 'scene-0061-sample-0', 'scene-0061-sample-1'))
        content['scene-b']['key_frames']['scene-0061-sample-1']['QA']['planning'][0]['A'] = ''
        path = write(tmp_path, content)
        with pytest.raises(ValueError, match="1 questions of .*questions.json have no answer to learn, first "
                                             "'scene-b_scene-0061-sample-1_3'.*test_mode=True"):
            build(small_root, path, 'DriveLMQuestions')
        dataset = build(small_root, path, 'DriveLMQuestions', test_mode=True, pipeline=[PIPELINE[0], PIPELINE[2]])
        assert dataset[1]['data_samples'].gt_text[3]['turns'][0][1] == ''


class TestAugmentation:
    """What is said about a scene has to stay true."""

    def frame(self, root, path, *transforms):
        return build(root, path, pipeline=[*PIPELINE[:2], *transforms, PIPELINE[2]])[0]['data_samples']

    def test_a_mirrored_scene_is_refused(self, small_root, path):
        with pytest.raises(ValueError, match='sample-2 was mirrored, but it has questions, .*left from right'):
            self.frame(small_root, path, dict(type='RandomMirrorScene', prob=1.0))

    def test_a_scaled_scene_is_refused(self, small_root, path):
        with pytest.raises(ValueError, match='scene-0061-sample-2 was scaled, but it has questions'):
            self.frame(small_root, path, dict(type='RandomRotateScaleScene', scale_range=(1.03, 1.03)))

    def test_a_turned_scene_is_not(self, small_root, path):
        turn = dict(type='RandomRotateScaleScene', rotation_range=(0.3, 0.3), scale_range=(1.0, 1.0))
        assert len(self.frame(small_root, path, turn).gt_text) == 2


def test_the_real_scene_with_nuscenes_qa(real_nuscenes_root, real_infos, tmp_path):
    """Questions in NuScenes-QA's format about three of the real scene's 40 frames."""
    frames = pickle.loads((real_infos / 'nuscenes_infos_val.pkl').read_bytes())['data_list']
    tokens = [frames[number]['token'] for number in (31, 31, 7)]
    dataset = build(real_nuscenes_root, write(tmp_path, nuscenes_qa(tokens)), 'NuScenesQAQuestions',
                    ann_file=str(real_infos / 'nuscenes_infos_val.pkl'))
    samples = [packed['data_samples'] for packed in (dataset[0], dataset[1])]
    assert len(dataset) == 2
    assert [(sample.sample_token, [text['type'] for text in sample.gt_text]) for sample in samples] == [
        (frames[7]['token'], ['count']), (frames[31]['token'], ['exist', 'object'])]
    assert samples[0].ori_shape == (900, 1600) and samples[0].lidar2img.shape == (6, 4, 4)
    assert Counter(len(sample.img_path) for sample in samples) == {6: 2}
