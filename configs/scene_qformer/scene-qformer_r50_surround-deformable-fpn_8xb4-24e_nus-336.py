# Deformable attention around projected 3D points, on three feature levels: strides 8, 16 and 32.
_base_ = './scene-qformer_r50_surround-deformable_8xb4-24e_nus-336.py'

model = dict(
    data_preprocessor=dict(pad_size_divisor=32),  # whole cells on every level
    backbone=dict(out_indices=(1, 2, 3)),
    neck=dict(_delete_=True, type='mmdet.FPN', in_channels=[512, 1024, 2048], out_channels=256, num_outs=3),
    decoder=dict(cross_attn_cfg=dict(num_levels=3)))
