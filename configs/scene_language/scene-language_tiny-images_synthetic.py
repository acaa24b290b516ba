# The embedded detector and the embedded language model, trained together from images: the language loss joins the
# detection losses and reaches all parts. Data and tokenizer are those of scene-language_tiny-tokens_synthetic.py.
#   without the boxes' supervision:  --cfg-options model.bbox_head=None model.denoising=None
_base_ = [
    '../_base_/models/scene-qformer_tiny.py',
    '../_base_/datasets/synthetic-nus_questions_tiny.py',
    '../_base_/schedules/adamw_tiny.py',
    '../_base_/default_runtime.py',
]

model = dict(
    # To keep a trained encoder as it is:
    # frozen_parts=('backbone', 'neck', 'positional_encoding', 'scene_queries', 'decoder'),
    projector=dict(_delete_=True, type='MLPProjector', in_channels={{_base_.embed_dims}}, hidden_channels=256),
    language_model=dict(  # that of tiny-language-model.py, which cannot stand beside a detector in one list of bases
        type='SceneLanguageModel',
        model=dict(
            model_type='llama',
            hidden_size=192,
            intermediate_size=512,
            num_hidden_layers=4,
            num_attention_heads=6,
            num_key_value_heads=6,
            max_position_embeddings=1024,
            tie_word_embeddings=True),
        tokenizer='{{$SYNTHETIC_NUSCENES_ROOT:data/synthetic_nuscenes}}/tokenizer',
        trainable=True,
        share_scene_tokens=True,
        generation=dict(max_new_tokens=8)))

# The language model at the rate that it has on cached tokens: 1e-3. Its last layer is that of its embeddings, and would
# be listed twice.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'language_model.': dict(lr_mult=1.25)}, bypass_duplicate=True))
