# Weights, gradients and optimizer state spread over all processes (PyTorch's FSDP, through mmengine's FlexibleRunner),
# for language models that do not fit a GPU otherwise. docs/several_machines.md
strategy = dict(
    type='ShardedStrategy',
    model_wrapper=dict(
        type='MMFullyShardedDataParallel',
        # units whose weights are gathered when they compute; what belongs to none is whole for the whole step
        auto_wrap_policy=dict(
            type='wrap_classes',
            classes=['LlamaDecoderLayer', 'MistralDecoderLayer', 'Qwen2DecoderLayer', 'GPT2Block']),
        sharding_strategy='FULL_SHARD',
        use_orig_params=True))  # rates by the names of parts, and frozen beside trained ones
