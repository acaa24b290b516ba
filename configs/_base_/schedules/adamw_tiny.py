# For the embedded synthetic set on a CPU: minutes, not days.
max_epochs = 14
base_lr = 8e-4

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=base_lr, weight_decay=0.01, fused=True),
    # From scratch, convolutions with BatchNorm learn well at higher rates than attention does.
    paramwise_cfg=dict(custom_keys={part: dict(lr_mult=2.5) for part in ('backbone', 'neck', 'center_head')}),
    clip_grad=dict(max_norm=35, norm_type=2))

param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 10, by_epoch=False, begin=0, end=200),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min=base_lr * 1e-2,
        by_epoch=True,
        convert_to_iter_based=True),
]

train_cfg = dict(type='ResumableEpochTrainLoop', max_epochs=max_epochs, val_interval=4)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=2)
