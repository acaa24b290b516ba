# Questions about the synthetic mini set, beside scene tokens that were computed before: no image is read.
#   python tools/create_questions.py --root data/synthetic_nuscenes --version v1.0-mini
#   python tools/extract_tokens.py CONFIG CHECKPOINT --out work_dirs/tokens --split both
# The folders may also come from the environment: SYNTHETIC_NUSCENES_ROOT and SCENE_TOKENS. Any encoder will do: when
# CONFIG, CHECKPOINT or the info files have changed since, the cache is refused. A config that goes on with the
# projector of a certain one states it here, too: config=, checkpoint=.
data_root = '{{$SYNTHETIC_NUSCENES_ROOT:data/synthetic_nuscenes}}'
tokens = dict(type='LoadSceneTokens', cache='{{$SCENE_TOKENS:work_dirs/tokens}}')
dataset_type = 'DrivingQuestionsDataset'
class_names = [
    'car', 'truck', 'trailer', 'bus', 'construction_vehicle', 'bicycle', 'motorcycle', 'pedestrian', 'traffic_cone',
    'barrier'
]
metainfo = dict(classes=class_names)

train_pipeline = [tokens, dict(type='ChooseQuestions', num=20), dict(type='PackSceneTokens')]
test_pipeline = [tokens, dict(type='PackSceneTokens')]

train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='ResumableSampler', shuffle=True),
    batch_sampler=dict(type='JointBatchSampler'),
    dataset=dict(
        type=dataset_type,
        questions=dict(type='GeneratedQuestions', path=f'{data_root}/questions_train.json'),
        data_root=data_root,
        ann_file='nuscenes_infos_train.pkl',
        pipeline=train_pipeline,
        metainfo=metainfo))
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        questions=dict(type='GeneratedQuestions', path=f'{data_root}/questions_val.json'),
        data_root=data_root,
        ann_file='nuscenes_infos_val.pkl',
        pipeline=test_pipeline,
        metainfo=metainfo,
        test_mode=True))
test_dataloader = val_dataloader

val_evaluator = dict(type='DrivingQAMetric', free_text=False)
test_evaluator = val_evaluator
