# The same adapters on the text alone: what can be guessed without looking. To be named beside every other result.
_base_ = './scene-language_r50_lora_8xb2-6e_nus-qa-336.py'

model = dict(_delete_=True, type='TokenReader', blind=True, language_model={{_base_.model.language_model}})
train_dataloader = dict(dataset=dict(pipeline=[dict(type='ChooseQuestions', num=8), dict(type='PackSceneTokens')]))
val_dataloader = dict(dataset=dict(pipeline=[dict(type='PackSceneTokens')]))
test_dataloader = val_dataloader
load_from = None
