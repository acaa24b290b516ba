# DeepSpeed's ZeRO stage 2: gradients and optimizer state spread over all processes, weights whole on each.
# Needs `pip install "deepspeed>=0.18,<0.19"`. docs/several_machines.md
strategy = dict(
    type='ZeroStrategy',
    # Not `bf16`, which makes all weights bfloat16: codes of positions, boxes and losses are computed in float32.
    config=dict(torch_autocast=dict(enabled=True, dtype='bfloat16')),
    zero_optimization=dict(
        stage=2,
        overlap_comm=True,
        contiguous_gradients=True,
        reduce_scatter=True,
        cpu_offload=False),
    gradient_clipping=35.)  # DeepSpeed clips by itself; as clip_grad of the schedules
