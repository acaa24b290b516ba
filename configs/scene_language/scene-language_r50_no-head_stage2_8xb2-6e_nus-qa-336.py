# Stage 2 by the language loss alone, from stage 1 without detection head.
_base_ = './scene-language_r50_stage2_8xb2-6e_nus-qa-336.py'

model = dict(bbox_head=None)
load_from = 'work_dirs/scene-language_r50_no-head_stage1_8xb2-6e_nus-qa-336/epoch_6.pth'
