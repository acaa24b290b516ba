# LoRA behind a frozen encoder, as in LLaVA-1.5: adapters and projector learn. The cheaper way on from stage 1: nothing
# is computed backwards in the encoder, and its tokens can be cached (the -tokens config). To train the encoder along,
# as OmniDrive and ORION do, is stage 2.
_base_ = './scene-language_r50_stage1_8xb2-6e_nus-qa-336.py'

model = dict(
    frozen_parts=('backbone', 'neck', 'positional_encoding', 'scene_queries', 'decoder'),
    backbone=dict(init_cfg=None),
    bbox_head=None,  # has nothing to teach here; the boxes are those of stage 1
    language_model=dict(lora={{_base_.lora}}))
load_from = 'work_dirs/scene-language_r50_stage1_8xb2-6e_nus-qa-336/epoch_6.pth'
