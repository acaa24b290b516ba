# A language model small enough to learn a few thousand generated questions from nothing, on a CPU. Its tokenizer is
# written by
#   python tools/create_word_tokenizer.py --questions QUESTIONS_TRAIN_JSON --out FOLDER
language_model = dict(
    type='SceneLanguageModel',
    model=dict(
        model_type='llama',
        tokenizer='{{$SYNTHETIC_NUSCENES_ROOT:data/synthetic_nuscenes}}/tokenizer',
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=1024,
        initializer_range=0.06,  # about 1 / sqrt(hidden_size); transformers' 0.02 is for models twenty times as wide
        tie_word_embeddings=True),
    trainable=True,
    share_scene_tokens=True,
    generation=dict(max_new_tokens=8))
projector = dict(type='MLPProjector', in_channels=160, hidden_channels=256)  # the embedded detector's queries: 128, 32
