# BLIP-2's way (arXiv 2301.12597, section 3): 32 queries of width 768 without places, 12 layers of which every second
# reads the images, one linear layer to the language model. To be compared with the no-head config.
_base_ = './scene-language_r50_no-head_stage1_8xb2-6e_nus-qa-336.py'

model = dict(
    scene_queries=dict(num_queries=32, embed_dims=768),
    # BLIP-2's own weights: see scene-qformer_r50_blip2-q32_8xb4-24e_nus-336.py
    decoder=dict(_delete_=True, type='Blip2QueryDecoder', memory_dims={{_base_.embed_dims}}),
    projector=dict(_delete_=True, type='LinearProjector', in_channels=768))
