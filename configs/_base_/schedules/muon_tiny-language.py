# For a small language model from scratch, on tokens that were computed before. Muon for its matrices, so that
# reading scene tokens is not lost beside the text, which is learned first.
max_epochs = 30

optim_wrapper = dict(
    type='OptimWrapper',
    constructor='MuonOptimWrapperConstructor',
    optimizer=dict(type='MuonAdamW', lr=1e-3, muon_lr=3e-3, weight_decay=0.05, betas=(0.9, 0.95), fused=True),
    clip_grad=dict(max_norm=1, norm_type=2))
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 10, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min_ratio=1e-2,
        by_epoch=True,
        convert_to_iter_based=True),
]
train_cfg = dict(type='ResumableEpochTrainLoop', max_epochs=max_epochs, val_interval=10)
val_cfg = dict()
test_cfg = dict()
