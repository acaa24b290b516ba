# Stage 1 with 128 scene tokens instead of 512.
_base_ = './scene-language_r50_stage1_8xb2-6e_nus-qa-336.py'

model = dict(scene_queries=dict(num_queries=128))
load_from = 'work_dirs/scene-language_r50_q128_heads-first_8xb4-24e_nus-336/epoch_24.pth'
