default_scope = 'mmdet3d'
custom_imports = dict(imports=['scene_qformer'], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=20),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # For checkpoints in the middle of epochs: by_epoch=False, interval=<steps>. See docs/checkpoints.md.
    checkpoint=dict(type='DurableCheckpointHook', interval=1, max_keep_ckpts=3),
    exact_resume=dict(type='ExactResumeHook'),
    # on_bad_step='skip' leaves steps out whose losses or gradients are not finite. See docs/numbers.md.
    finite_steps=dict(type='FiniteStepHook'),
    loss_spikes=dict(type='LossSpikeHook'),
    loading_faults=dict(type='LoadingFaultsHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'))

# Detection alone does not reach the projector, and a training without a language model is to run on several GPUs.
find_unused_parameters = True

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    # gloo without a GPU; seconds that processes wait for each other before they stop
    dist_cfg=dict(backend='nccl', timeout=1800))
visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'
randomness = dict(seed=0)
load_from = None
resume = False
