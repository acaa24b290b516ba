# Real questions on real images, learned by heart: the pairs of a few key frames of DriveLM-nuScenes, which come without
# calibration. Cameras are known by their number, and all attention is global.
#   DRIVELM_ROOT=... python tools/analysis/learn_answers_by_heart.py
# The folder holds v1_1_train_nus.json, and nuscenes/ with the images. The tool writes the tokenizer.
_base_ = ['../_base_/models/scene-qformer_tiny.py', '../_base_/default_runtime.py']
data_root = '{{$DRIVELM_ROOT:data/drivelm}}'
image_size = (224, 126)  # width, height: of five frames, enough to tell them apart
num_frames = 5  # a step takes all of them, so that their images are encoded once for many questions

model = dict(
    data_preprocessor=dict(pad_size_divisor=32),
    backbone=dict(out_indices=(2, 3)),
    neck=dict(in_channels=[64, 128]),  # stride 16
    positional_encoding=dict(
        _delete_=True,
        type='SumEncoding',
        encodings=[
            dict(type='Sine2DEncoding', embed_dims={{_base_.embed_dims}}),
            dict(type='CameraIDEncoding', embed_dims={{_base_.embed_dims}}),
        ]),
    scene_queries=dict(_delete_=True, type='SceneQueries', num_queries=32, embed_dims={{_base_.embed_dims}}),
    decoder=dict(
        num_layers=2,
        cross_attn_cfg=dict(_delete_=True, type='GlobalAttention', num_heads=4),
        refine_reference_points=False),
    token_position=None,  # queries stay at their points, and are told apart by their content
    projector=dict(_delete_=True, type='MLPProjector', in_channels={{_base_.embed_dims}}, hidden_channels=256),
    language_model=dict(
        type='SceneLanguageModel',
        model=dict(
            model_type='llama',
            tokenizer='work_dirs/learn_answers_by_heart/tokenizer',
            hidden_size=192,
            intermediate_size=512,
            num_hidden_layers=3,
            num_attention_heads=3,
            num_key_value_heads=3,
            max_position_embeddings=1152,  # the longest answer takes 913
            tie_word_embeddings=True),
        trainable=True,
        share_scene_tokens=True,
        questions_per_pass=8,  # side by side they are 450 places, each of which is compared with each
        generation=dict(max_new_tokens=1024)),
    bbox_head=None,
    denoising=None)

questions = dict(type='DriveLMQuestions', path=f'{data_root}/v1_1_train_nus.json')
load_images = dict(type='LoadSurroundImages', size=image_size, cache=True)
train_dataloader = dict(
    batch_size=num_frames,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='ResumableSampler', shuffle=True),
    batch_sampler=dict(type='JointBatchSampler'),
    dataset=dict(
        type='DrivingImagesDataset',
        questions=questions,
        data_root=f'{data_root}/nuscenes',
        pipeline=[load_images, dict(type='ChooseQuestions', num=8), dict(type='PackSceneInputs', keys=('img', ))]))
val_dataloader = dict(
    batch_size=num_frames,
    num_workers=0,
    persistent_workers=False,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='DrivingImagesDataset',
        questions=questions,
        data_root=f'{data_root}/nuscenes',
        pipeline=[load_images, dict(type='PackSceneInputs', keys=('img', ))],
        test_mode=True))
test_dataloader = val_dataloader
val_evaluator = dict(type='DrivingQAMetric', free_text=False)
test_evaluator = val_evaluator

# No weight decay: what is wanted is that every pair is remembered. Nine answers of ten follow from the question alone;
# Muon lets the rest, for which the frames must be told apart, be learned as well.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='MuonOptimWrapperConstructor',
    optimizer=dict(type='MuonAdamW', lr=2e-3, muon_lr=4e-3, weight_decay=0., betas=(0.9, 0.95), fused=True),
    clip_grad=dict(max_norm=1, norm_type=2))
max_epochs = 1000  # of one step each
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=max_epochs, T_max=max_epochs, eta_min_ratio=1e-3),
]
train_cfg = dict(type='ResumableEpochTrainLoop', max_epochs=max_epochs, val_interval=max_epochs)
val_cfg = dict()
test_cfg = dict()
