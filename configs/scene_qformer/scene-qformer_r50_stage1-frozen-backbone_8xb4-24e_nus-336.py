# Stage 1: the backbone keeps its ImageNet weights; everything behind it is trained.
_base_ = './scene-qformer_r50_8xb4-24e_nus-336.py'

model = dict(backbone=dict(frozen_stages=4))
