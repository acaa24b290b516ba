# The synthetic mini set with generated questions about it; written, beside what synthetic-nus_tiny.py names, by
#   python tools/create_questions.py --root data/synthetic_nuscenes --version v1.0-mini
_base_ = './synthetic-nus_tiny.py'

data_root = '{{$SYNTHETIC_NUSCENES_ROOT:data/synthetic_nuscenes}}'
train_pipeline = [
    dict(type='LoadSurroundImages', size={{_base_.image_size}}, cache=True),
    {{_base_.horizon_band}},
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    # Neither mirrored nor turned: questions tell left from right, and ask for cameras, whose answers would stay.
    dict(type='ObjectRangeFilter', point_cloud_range={{_base_.point_cloud_range}}),
    dict(type='ObjectNameFilter', classes={{_base_.class_names}}),
    dict(type='ChooseQuestions', num=20),
    dict(type='PackSceneInputs'),
]
train_dataloader = dict(
    dataset=dict(
        type='DrivingQuestionsDataset',
        questions=dict(type='GeneratedQuestions', path=f'{data_root}/questions_train.json'),
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        type='DrivingQuestionsDataset',
        questions=dict(type='GeneratedQuestions', path=f'{data_root}/questions_val.json')))
test_dataloader = val_dataloader

val_evaluator = dict(_delete_=True, type='DrivingQAMetric', free_text=False)
test_evaluator = dict(_delete_=True, type='DrivingQAMetric', free_text=False)
