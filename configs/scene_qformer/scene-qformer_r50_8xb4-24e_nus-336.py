# The default: ResNet-50, 512 scene tokens, nuScenes at 336x336, end to end.
_base_ = [
    '../_base_/models/scene-qformer_r50.py',
    '../_base_/datasets/nus-3d-scene_336.py',
    '../_base_/schedules/adamw_24e.py',
    '../_base_/default_runtime.py',
]
