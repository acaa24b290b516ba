# LLaVA-1.5's baseline (arXiv 2310.03744): no queries, an MLP as wide as the language model on each of the 2646 patches
# of the memory that the decoder reads elsewhere. Patches detect nothing: to be compared with the no-head config.
_base_ = './scene-language_r50_no-head_stage1_8xb2-6e_nus-qa-336.py'

model = dict(
    positional_encoding=dict(_delete_=True, type='Sine2DEncoding'),  # nobody reads the memory
    scene_queries=dict(
        _delete_=True, type='PatchQueries', positional_encoding={{_base_.model.positional_encoding}}),
    decoder=dict(_delete_=True, type='NoDecoder'),
    projector=dict(hidden_channels=None))  # as wide as the language model
