# The embedded model with its feature map at stride 16, as the default design has it: 1176 image tokens instead of 4704.
# Attention to or among all of them, which costs most, trains in minutes too: what compare_variants.py compares.
_base_ = './scene-qformer_tiny_synthetic.py'
model = dict(
    backbone=dict(out_indices=(2, 3)),
    neck=dict(in_channels=[64, 128]))
