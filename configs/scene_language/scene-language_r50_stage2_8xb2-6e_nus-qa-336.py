# Stage 2: end to end. Backbone at 1e-5, decoder, projector and head at 1e-4, the language model's adapters at 2e-4.
_base_ = './scene-language_r50_stage1_8xb2-6e_nus-qa-336.py'

model = dict(
    frozen_parts=(),
    backbone=dict(frozen_stages=-1, init_cfg=None),
    language_model=dict(lora={{_base_.lora}}))
load_from = 'work_dirs/scene-language_r50_stage1_8xb2-6e_nus-qa-336/epoch_6.pth'
