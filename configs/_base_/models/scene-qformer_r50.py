# The default design: six cameras -> 512 scene tokens of width 4096.
embed_dims = 256

model = dict(
    type='SceneQFormer',
    data_preprocessor=dict(
        type='SurroundImagePreprocessor',
        mean=[123.675, 116.28, 103.53],  # ImageNet, RGB
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=16),
    backbone=dict(
        type='mmdet.ResNet',
        depth=50,
        out_indices=(2, 3),  # C4 and C5, strides 16 and 32
        frozen_stages=1,
        norm_eval=True,
        # torchvision's ImageNet weights (resnet50-0676ba61.pth), which you download yourself; from scratch, with
        # other settings above: --cfg-options model.backbone.init_cfg=None
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/resnet50-0676ba61.pth')),
    neck=dict(type='SingleLevelFPN', in_channels=[1024, 2048], out_channels=embed_dims),
    positional_encoding=dict(
        type='SumEncoding',
        encodings=[
            dict(type='Sine2DEncoding', embed_dims=embed_dims),
            dict(type='CameraIDEncoding', embed_dims=embed_dims, num_cameras=6),
        ]),
    scene_queries=dict(type='SceneQueries', num_queries=512, embed_dims=embed_dims),
    decoder=dict(
        type='SceneQueryDecoder',
        num_layers=6,
        embed_dims=embed_dims,
        self_attn_cfg=dict(type='GlobalAttention', num_heads=8, attn_drop=0.1, proj_drop=0.1),
        cross_attn_cfg=dict(type='GlobalAttention', num_heads=8, attn_drop=0.1, proj_drop=0.1),
        feedforward_channels=2048,
        ffn_drop=0.1),
    projector=dict(type='MLPProjector', in_channels=embed_dims, hidden_channels=512, out_channels=4096),
    bbox_head=dict(
        type='SceneDetectionHead',
        num_classes=10,
        embed_dims=embed_dims,
        point_cloud_range=[-51.2, -51.2, -5.0, 51.2, 51.2, 3.0],  # metres, LiDAR frame; as in the data set's filter
        bbox_coder=dict(
            type='NMSFreeBBoxCoder', post_center_range=[-61.2, -61.2, -10.0, 61.2, 61.2, 10.0], max_num=300),
        assigner=dict(
            type='mmdet.HungarianAssigner',
            match_costs=[dict(type='mmdet.FocalLossCost', weight=2.0),
                         dict(type='mmdet3d.BBox3DL1Cost', weight=0.25)]),
        loss_cls=dict(type='mmdet.FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=2.0),
        loss_bbox=dict(type='mmdet.L1Loss', loss_weight=0.25)))
