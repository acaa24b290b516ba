# Stage 2 with all of the language model trained, its weights in float32 and spread over the GPUs. With --amp.
_base_ = ['./scene-language_r50_stage2_8xb2-6e_nus-qa-336.py', '../_base_/strategies/fsdp.py']

model = dict(language_model=dict(lora=None, trainable=True, dtype='float32'))
# LLaVA-1.5 trains the language model at 2e-5
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'language_model.': dict(lr_mult=0.2, decay_mult=0.)}))
