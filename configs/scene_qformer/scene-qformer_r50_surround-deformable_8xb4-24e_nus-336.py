# Cross-attention around the projections of 3D reference points, which every layer moves.
_base_ = './scene-qformer_r50_8xb4-24e_nus-336.py'

model = dict(
    decoder=dict(
        refine_reference_points=True,
        cross_attn_cfg=dict(
            _delete_=True,
            type='SurroundDeformableAttention',
            num_heads=8,
            proj_drop=0.1,
            point_cloud_range=[-51.2, -51.2, -5.0, 51.2, 51.2, 3.0])))  # as the head's
