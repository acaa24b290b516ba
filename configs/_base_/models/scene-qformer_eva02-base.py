# The default design with EVA-02 base (Fang et al., arXiv 2303.11331) from timm: 24x24 patches of 14 pixels, resampled
# to stride 16. A plain ViT has one level, so the neck is a projection and a 3x3 convolution.
#
# Weights: model.safetensors of https://huggingface.co/timm/eva02_base_patch14_448.mim_in22k_ft_in22k_in1k, which you
# download and rename yourself; position embeddings are resampled from 448x448. From scratch: --cfg-options
# model.backbone.init_cfg=None
_base_ = './scene-qformer_r50.py'

model = dict(
    data_preprocessor=dict(  # those of CLIP, which the weights were trained with
        mean=[122.771, 116.746, 104.094],
        std=[68.501, 66.632, 70.323]),
    backbone=dict(
        _delete_=True,
        type='TimmBackbone',
        name='eva02_base_patch14_448',
        out_strides=(16, ),
        img_size=336,
        drop_path_rate=0.1,
        with_cp=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/eva02_base_patch14_448.mim_in22k_ft_in22k_in1k.safetensors')),
    neck=dict(in_channels=[768]))
