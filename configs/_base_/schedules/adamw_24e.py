# AdamW, 24 epochs, warm-up and cosine. The rates are those of a batch of 32 (8 GPUs x 4 samples): pass
# --auto-scale-lr for another.
max_epochs = 24
base_lr = 1e-4

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=base_lr, weight_decay=0.01, fused=True),
    clip_grad=dict(max_norm=35, norm_type=2),
    # By module name: decoder, projector and all the rest 1e-4, backbone 1e-5.
    paramwise_cfg=dict(custom_keys={'backbone.': dict(lr_mult=0.1)}))

param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 3, by_epoch=False, begin=0, end=500),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min_ratio=1e-3,  # of each group's own rate: groups keep their proportions
        by_epoch=True,
        convert_to_iter_based=True),
]

train_cfg = dict(type='ResumableEpochTrainLoop', max_epochs=max_epochs, val_interval=4)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=32)
