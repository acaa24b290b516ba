# The same as the lora config, without reading an image: scene tokens of stage 1 come from the cache that
#   python tools/extract_tokens.py configs/scene_language/scene-language_r50_stage1_8xb2-6e_nus-qa-336.py \
#       work_dirs/scene-language_r50_stage1_8xb2-6e_nus-qa-336/epoch_6.pth --out work_dirs/tokens --split both
# writes, there or into SCENE_TOKENS. (As images are read once, they are not distorted.)
_base_ = './scene-language_r50_lora_8xb2-6e_nus-qa-336.py'

model = dict(
    _delete_=True,
    type='TokenReader',
    projector={{_base_.model.projector}},
    language_model={{_base_.model.language_model}})
tokens = dict(
    type='LoadSceneTokens',
    cache='{{$SCENE_TOKENS:work_dirs/tokens}}',
    # the encoder whose projector is trained on: a cache of another one is refused
    config='{{ fileDirname }}/scene-language_r50_stage1_8xb2-6e_nus-qa-336.py',
    checkpoint={{_base_.load_from}})
train_dataloader = dict(
    dataset=dict(pipeline=[tokens, dict(type='ChooseQuestions', num=8), dict(type='PackSceneTokens')]))
val_dataloader = dict(dataset=dict(pipeline=[tokens, dict(type='PackSceneTokens')]))
test_dataloader = val_dataloader
