# ResNet-18 from scratch on real pixels at 448x256, sized to learn a few frames by heart on a CPU; queries, attention,
# boxes and denoising are as in the embedded config:
#   NUSCENES_ROOT=... python tools/analysis/learn_by_heart.py CONFIG --cut --frames 8 --batch-size 2
_base_ = [
    '../_base_/datasets/nus-3d-scene_336.py',
    '../_base_/schedules/adamw_tiny.py',
    '../_base_/default_runtime.py',
]
embed_dims = 128
pc_range = [-51.2, -51.2, -5.0, 51.2, 51.2, 3.0]  # metres, LiDAR frame; as in the data set's filter

model = dict(
    type='SceneQFormer',
    data_preprocessor=dict(
        type='Det3DDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32),
    backbone=dict(
        type='mmdet.ResNet',
        depth=18,
        out_indices=(1, 2, 3),
        norm_eval=False,  # from scratch; with weights: norm_eval=True and init_cfg as in the default model
        zero_init_residual=False),
    neck=dict(  # stride 8
        type='SingleLevelFPN', in_channels=[128, 256, 512], out_channels=embed_dims, norm_cfg=dict(type='BN')),
    positional_encoding=dict(type='Sine2DEncoding', embed_dims=embed_dims),
    scene_queries=dict(
        type='ProposalQueries',
        num_queries=200,
        num_proposals=140,
        embed_dims=embed_dims,
        point_cloud_range=pc_range,
        concentration=1.5,
        center_head=dict(
            num_classes=10,
            loss_heatmap=dict(type='mmdet.GaussianFocalLoss', loss_weight=2.0),
            loss_offset=dict(type='mmdet.L1Loss', loss_weight=4.0),
            loss_depth=dict(type='mmdet.L1Loss', loss_weight=6.0))),
    decoder=dict(
        type='SceneQueryDecoder',
        num_layers=3,
        embed_dims=embed_dims,
        self_attn_cfg=dict(type='GlobalAttention', num_heads=4),
        cross_attn_cfg=dict(type='SurroundDeformableAttention', num_heads=8, num_points=4, point_cloud_range=pc_range),
        feedforward_channels=512,
        ffn_drop=0.,
        refine_reference_points=True),
    projector=dict(type='MLPProjector', in_channels=embed_dims, hidden_channels=256, out_channels=512),
    bbox_head=dict(
        type='SceneDetectionHead',
        num_classes=10,
        embed_dims=embed_dims,
        point_cloud_range=pc_range,
        ray_aligned=True),
    denoising=dict(
        type='QueryDenoising',
        embed_dims=embed_dims,
        num_groups=1,
        center_noise=(1.0, 1.0, 0.3),
        point_cloud_range=pc_range))

optim_wrapper = dict(optimizer=dict(lr=4e-4))  # the network is wider than the embedded one, the batch smaller

image_size = (448, 252)  # width, height: the whole view at 0.28
train_pipeline = [
    dict(type='LoadSurroundImages', size=image_size, cache=True),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='ObjectRangeFilter', point_cloud_range=pc_range),
    dict(type='ObjectNameFilter', classes={{_base_.class_names}}),
    dict(type='PackSceneInputs'),
]
test_pipeline = [
    dict(type='LoadSurroundImages', size=image_size, cache=True),
    dict(type='PackSceneInputs', keys=('img', )),
]
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
