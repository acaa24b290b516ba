# The embedded default with gradients and optimizer state spread by DeepSpeed: ZeRO stage 2 tried out on a CPU.
#   DS_ACCELERATOR=cpu tools/dist_train.sh configs/scene_qformer/scene-qformer_tiny-zero2_synthetic.py 2
_base_ = ['./scene-qformer_tiny_synthetic.py', '../_base_/strategies/deepspeed_zero2.py']

optim_wrapper = dict(  # without clip_grad and type: DeepSpeed's own wrapper, which clips as the strategy says
    _delete_=True,
    type='ZeroOptimWrapper',
    optimizer={{_base_.optim_wrapper.optimizer}},
    paramwise_cfg={{_base_.optim_wrapper.paramwise_cfg}})
