# Cross-attention by mmcv's MultiScaleDeformableAttention: the six cameras are its levels, and every query has a learned
# 2D reference point in each. Where cameras look is learned, not read from their matrices.
_base_ = './scene-qformer_r50_8xb4-24e_nus-336.py'

model = dict(
    decoder=dict(cross_attn_cfg=dict(_delete_=True, type='MultiScaleDeformableAttention', num_heads=8, num_levels=6)))
