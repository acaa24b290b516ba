# The embedded model with ResNet-18 at full width, on real pixels at 448x256: learns a few frames by heart on a CPU.
#   NUSCENES_ROOT=... python tools/analysis/learn_by_heart.py CONFIG --cut --frames 8 --batch-size 2
_base_ = [
    '../_base_/models/scene-qformer_tiny.py',
    '../_base_/datasets/nus-3d-scene_336.py',
    '../_base_/schedules/adamw_tiny.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(pad_size_divisor=32),
    backbone=dict(base_channels=64),
    neck=dict(in_channels=[128, 256, 512]),
    scene_queries=dict(num_queries=200))  # 140 proposals, 60 learned ones

optim_wrapper = dict(optimizer=dict(lr=4e-4))  # the backbone is four times as wide as the embedded one

image_size = (448, 252)  # width, height: the whole view at 0.28
train_pipeline = [
    dict(type='LoadSurroundImages', size=image_size, cache=True),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='ObjectRangeFilter', point_cloud_range={{_base_.point_cloud_range}}),
    dict(type='ObjectNameFilter', classes={{_base_.class_names}}),
    dict(type='PackSceneInputs'),
]
test_pipeline = [
    dict(type='LoadSurroundImages', size=image_size, cache=True),
    dict(type='PackSceneInputs', keys=('img', )),
]
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
