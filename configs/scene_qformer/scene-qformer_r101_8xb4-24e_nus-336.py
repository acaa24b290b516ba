# ResNet-101, with torchvision's ImageNet weights (ResNet101_Weights.IMAGENET1K_V1).
_base_ = './scene-qformer_r50_8xb4-24e_nus-336.py'

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='checkpoints/resnet101-63fe2227.pth')))
