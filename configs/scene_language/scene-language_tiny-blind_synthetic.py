# The same language model on the text alone: what can be guessed without looking.
_base_ = './scene-language_tiny-tokens_synthetic.py'
model = dict(blind=True)
train_dataloader = dict(dataset=dict(pipeline=[dict(type='ChooseQuestions', num=20), dict(type='PackSceneTokens')]))
val_dataloader = dict(dataset=dict(pipeline=[dict(type='PackSceneTokens')]))
test_dataloader = val_dataloader
