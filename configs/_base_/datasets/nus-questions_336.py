# nuScenes with the questions of NuScenes-QA (Qian et al., arXiv 2305.14836), by default the two files of
# https://github.com/qiantianwen/NuScenes-QA in data/nuscenes_qa or the folder NUSCENES_QA_ROOT. Other questions are
# another `questions` here: DriveLMQuestions, LLaVAConversations, GeneratedQuestions; see docs/questions.md.
_base_ = './nus-3d-scene_336.py'

question_root = '{{$NUSCENES_QA_ROOT:data/nuscenes_qa}}'
train_pipeline = [
    dict(type='LoadSurroundImages', size={{_base_.image_size}}),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),  # for the detection head beside
    dict(type='ObjectRangeFilter', point_cloud_range={{_base_.point_cloud_range}}),
    dict(type='ObjectNameFilter', classes={{_base_.class_names}}),
    # The scene is not mirrored: questions tell left from right.
    dict(
        type='MultiViewWrapper',
        transforms=[dict(type='PhotoMetricDistortion3D')],
        process_fields=['img'],
        collected_keys=[]),
    dict(type='ChooseQuestions', num=8),  # of 13 a frame on average
    dict(type='PackSceneInputs'),
]
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        type='DrivingQuestionsDataset',
        questions=dict(type='NuScenesQAQuestions', path=f'{question_root}/NuScenes_train_questions.json'),
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        type='DrivingQuestionsDataset',
        questions=dict(type='NuScenesQAQuestions', path=f'{question_root}/NuScenes_val_questions.json')))
test_dataloader = val_dataloader

# Boxes are scored by the detection configs: the official metric wants all frames, and here are those with questions.
val_evaluator = dict(_delete_=True, type='DrivingQAMetric', free_text=False)
test_evaluator = dict(_delete_=True, type='DrivingQAMetric', free_text=False)
