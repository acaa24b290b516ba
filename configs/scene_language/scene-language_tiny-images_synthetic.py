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

# AdamW for all, as in the detector's training; the language model at 1e-3 with weight decay 0.05. (On cached tokens it
# has MuonAdamW.) Its last layer is that of its embeddings, and would be listed twice.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'language_model.': dict(lr_mult=1.25, decay_mult=5.0)}, bypass_duplicate=True))
