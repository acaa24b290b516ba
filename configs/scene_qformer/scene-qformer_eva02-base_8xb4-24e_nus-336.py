# EVA-02 base. Layer by layer towards the image the rate falls by 0.8, from the schedule's 1e-5 in the last block.
_base_ = [
    '../_base_/models/scene-qformer_eva02-base.py',
    '../_base_/datasets/nus-3d-scene_336.py',
    '../_base_/schedules/adamw_24e.py',
    '../_base_/default_runtime.py',
]

optim_wrapper = dict(
    constructor='LayerDecayOptimWrapperConstructor', paramwise_cfg=dict(layer_decay={'backbone': 0.8}))
