# AdamW, 6 epochs over frames with questions, as many as OmniDrive trains; warm-up and cosine. The rates are those of a
# batch of 16 frames (8 GPUs x 2) with 8 questions each, 128 conversations as in LLaVA; for another: --auto-scale-lr.
max_epochs = 6
base_lr = 1e-4

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=base_lr, weight_decay=0.01, fused=True),
    clip_grad=dict(max_norm=35, norm_type=2),
    # By module name, the longest that fits: backbone 1e-5; decoder, projector and all the rest 1e-4; adapters of the
    # language model 2e-4 and without decay, as LLaVA-1.5's. To train all of that model, take lr_mult=0.2: LLaVA's 2e-5.
    paramwise_cfg=dict(
        custom_keys={
            'backbone.': dict(lr_mult=0.1),
            'language_model.': dict(lr_mult=2.0, decay_mult=0.),
        },
        bypass_duplicate=True))  # small language models share their last layer with the embeddings

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

train_cfg = dict(type='ResumableEpochTrainLoop', max_epochs=max_epochs, val_interval=max_epochs)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=16)
