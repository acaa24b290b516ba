# The embedded detector and the embedded language model, trained together from images: the language loss joins the
# detection losses and reaches all parts. Data and tokenizer are those of scene-language_tiny-tokens_synthetic.py.
#   without the boxes' supervision:  --cfg-options model.bbox_head=None model.denoising=None
_base_ = [
    '../_base_/models/scene-qformer_tiny.py',
    '../_base_/models/tiny-language-model.py',
    '../_base_/datasets/synthetic-nus_questions_tiny.py',
    '../_base_/schedules/adamw_tiny.py',
    '../_base_/default_runtime.py',
]

model = dict(
    # To keep a trained encoder as it is:
    # frozen_parts=('backbone', 'neck', 'positional_encoding', 'scene_queries', 'decoder'),
    projector=dict(_delete_=True, type='MLPProjector', in_channels=160, hidden_channels=256),
    language_model={{_base_.language_model}})

# As on cached tokens; all else at the detector's rate. Detection losses have larger gradients than the language loss.
train_dataloader = dict(batch_size=4)
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    constructor='MuonOptimWrapperConstructor',
    optimizer=dict(type='MuonAdamW', lr=8e-4, muon_lr=2e-3, weight_decay=0.05, betas=(0.9, 0.95), fused=True),
    clip_grad=dict(max_norm=35, norm_type=2))
