# The same design, small enough to train on two CPU cores in minutes. Where it differs from the default, it is for the
# few frames and steps that minutes allow: queries that start at what a dense head finds in the images, attention that
# looks where the calibration says, boxes along the rays, denoising.
embed_dims = 128
pc_range = [-51.2, -51.2, -5.0, 51.2, 51.2, 3.0]  # metres, LiDAR frame; as in the data set's filter

model = dict(
    type='SceneQFormer',
    data_preprocessor=dict(
        type='SurroundImagePreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=16),
    backbone=dict(
        type='mmdet.ResNet',
        depth=18,
        base_channels=16,
        out_indices=(1, 2, 3),
        norm_eval=False,  # trained from scratch: mmdet's default keeps pretrained statistics
        zero_init_residual=False),
    neck=dict(  # stride 8: images are small
        type='SingleLevelFPN', in_channels=[32, 64, 128], out_channels=embed_dims, norm_cfg=dict(type='BN')),
    # No camera ID: training turns the rig about the vehicle, and lidar2img tells where a camera looks.
    positional_encoding=dict(type='Sine2DEncoding', embed_dims=embed_dims),
    # Object centres and depths are taught to the image features directly; most queries start there.
    scene_queries=dict(
        type='ProposalQueries',
        num_queries=240,
        num_proposals=140,
        embed_dims=embed_dims,
        point_cloud_range=pc_range,
        concentration=1.5,
        center_head=dict(
            num_classes=10,
            loss_heatmap=dict(type='mmdet.GaussianFocalLoss', loss_weight=2.0),
            loss_offset=dict(type='mmdet.L1Loss', loss_weight=4.0),
            loss_depth=dict(type='mmdet.L1Loss', loss_weight=6.0))),
    # No dropout: minutes of training cannot overfit, and it keeps attention from the fused kernel on a CPU.
    decoder=dict(
        type='SceneQueryDecoder',
        num_layers=3,
        embed_dims=embed_dims,
        self_attn_cfg=dict(type='GlobalAttention', num_heads=4),
        cross_attn_cfg=dict(type='SurroundDeformableAttention', num_heads=8, num_points=4, point_cloud_range=pc_range),
        feedforward_channels=512,
        ffn_drop=0.,
        refine_reference_points=True),
    # Queries start at proposals and predict relative to them: a language model is told where they are.
    token_position=dict(type='PolarTokenPosition', point_cloud_range=pc_range),
    # the width of tiny-language-model.py: a language model starts from this detector's checkpoint as it is
    projector=dict(type='MLPProjector', in_channels=embed_dims + 32, hidden_channels=256, out_channels=192),
    bbox_head=dict(
        type='SceneDetectionHead',
        num_classes=10,
        embed_dims=embed_dims,
        point_cloud_range=pc_range,
        ray_aligned=True),
    # Shifts of one metre: with more, a query in a row of barriers or parked cars could not tell which one is meant.
    denoising=dict(
        type='QueryDenoising',
        embed_dims=embed_dims,
        num_groups=1,
        center_noise=(1.0, 1.0, 0.3),
        point_cloud_range=pc_range))
