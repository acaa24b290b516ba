# ResNet-18, with torchvision's ImageNet weights (ResNet18_Weights.IMAGENET1K_V1).
_base_ = './scene-qformer_r50_8xb4-24e_nus-336.py'

model = dict(
    backbone=dict(depth=18, init_cfg=dict(checkpoint='checkpoints/resnet18-f37072fd.pth')),
    neck=dict(in_channels=[256, 512]))
