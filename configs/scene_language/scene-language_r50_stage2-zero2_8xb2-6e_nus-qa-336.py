# Stage 2 with DeepSpeed: gradients and optimizer state of what is trained are spread over the GPUs.
_base_ = ['./scene-language_r50_stage2_8xb2-6e_nus-qa-336.py', '../_base_/strategies/deepspeed_zero2.py']

optim_wrapper = dict(  # without clip_grad and type: DeepSpeed's own wrapper, which clips as the strategy says
    _delete_=True,
    type='ZeroOptimWrapper',
    optimizer={{_base_.optim_wrapper.optimizer}},
    paramwise_cfg={{_base_.optim_wrapper.paramwise_cfg}})
