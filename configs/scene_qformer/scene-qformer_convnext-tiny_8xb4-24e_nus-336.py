# ConvNeXt-T from timm; strides 16 and 32 as of ResNet-50. Weights: model.safetensors of
# https://huggingface.co/timm/convnext_tiny.in12k_ft_in1k, which you download and rename yourself.
_base_ = './scene-qformer_r50_8xb4-24e_nus-336.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='TimmBackbone',
        name='convnext_tiny',
        out_strides=(16, 32),
        drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/convnext_tiny.in12k_ft_in1k.safetensors')),
    neck=dict(in_channels=[384, 768]))
