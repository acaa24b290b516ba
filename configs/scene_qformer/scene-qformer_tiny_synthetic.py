# The embedded default: trains on the synthetic mini set in minutes on a CPU, through the same path as the large ones.
_base_ = [
    '../_base_/models/scene-qformer_tiny.py',
    '../_base_/datasets/synthetic-nus_tiny.py',
    '../_base_/schedules/adamw_tiny.py',
    '../_base_/default_runtime.py',
]
