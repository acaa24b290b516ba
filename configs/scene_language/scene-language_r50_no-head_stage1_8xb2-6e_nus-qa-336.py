# Stage 1 by the language loss alone: without detection head, from ImageNet's backbone instead of heads first.
_base_ = './scene-language_r50_stage1_8xb2-6e_nus-qa-336.py'

model = dict(bbox_head=None)
load_from = None
