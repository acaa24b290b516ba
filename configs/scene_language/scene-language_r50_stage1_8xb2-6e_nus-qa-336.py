# Stage 1: backbone and language model are frozen; what is between them learns to speak to it, decoder and projector
# above all, and to detect on. 512 scene tokens.
_base_ = [
    '../_base_/models/scene-qformer_r50.py',
    '../_base_/models/vicuna-7b.py',
    '../_base_/datasets/nus-questions_336.py',
    '../_base_/schedules/adamw_language-6e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    frozen_parts=('backbone', ),
    projector=dict(  # to the width that the language model has
        _delete_=True, type='MLPProjector', in_channels={{_base_.embed_dims}}, hidden_channels=512),
    language_model={{_base_.language_model}})
load_from = 'work_dirs/scene-language_r50_heads-first_8xb4-24e_nus-336/epoch_24.pth'
