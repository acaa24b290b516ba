# EVA giant, 1.0 G parameters, frozen. Weights: model.safetensors of
# https://huggingface.co/timm/eva_giant_patch14_336.clip_ft_in1k, which you download and rename yourself.
_base_ = './scene-qformer_eva02-base_8xb4-24e_nus-336.py'

model = dict(
    backbone=dict(
        name='eva_giant_patch14_336',
        frozen=True,
        drop_path_rate=0.,
        with_cp=False,
        init_cfg=dict(checkpoint='checkpoints/eva_giant_patch14_336.clip_ft_in1k.safetensors')),
    neck=dict(in_channels=[1408]))
