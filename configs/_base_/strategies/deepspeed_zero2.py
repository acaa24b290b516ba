# DeepSpeed's ZeRO stage 2: gradients and optimizer state spread over all processes, weights whole on each; in bfloat16.
# Needs `pip install deepspeed` and GPUs. docs/several_machines.md
strategy = dict(
    type='DeepSpeedStrategy',
    bf16=dict(enabled=True),
    zero_optimization=dict(
        stage=2,
        overlap_comm=True,
        contiguous_gradients=True,
        reduce_scatter=True,
        cpu_offload=False),
    gradient_clipping=35.,  # DeepSpeed clips by itself; as clip_grad of the schedules
    inputs_to_half=['inputs'])
