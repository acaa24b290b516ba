# Stage 2: end to end from stage 1, backbone at 1e-5, decoder and projector at 1e-4. (Detection alone does not reach the
# projector; a language model's loss does.)
_base_ = './scene-qformer_r50_8xb4-24e_nus-336.py'

model = dict(backbone=dict(frozen_stages=-1, init_cfg=None))
load_from = 'work_dirs/scene-qformer_r50_stage1-frozen-backbone_8xb4-24e_nus-336/epoch_24.pth'
