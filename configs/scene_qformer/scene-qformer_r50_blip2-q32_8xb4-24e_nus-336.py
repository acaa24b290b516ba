# The layout of BLIP-2's Q-Former: 32 queries of width 768, 12 layers, the image read in every second one.
_base_ = './scene-qformer_r50_8xb4-24e_nus-336.py'

model = dict(
    scene_queries=dict(num_queries=32, embed_dims=768),
    decoder=dict(
        _delete_=True,
        type='Blip2QueryDecoder',
        memory_dims=256,
        # BLIP-2 has no position of queries; boxes need one.
        encode_reference_points=True),
    # To start from BLIP-2's weights, which you download yourself (they were trained on a memory of width 1408):
    #   scene_queries=dict(init_cfg=dict(type='Blip2QueryTokensInit', checkpoint='checkpoints/blip2.safetensors'))
    #   decoder=dict(init_cfg=dict(type='Blip2QFormerInit', checkpoint='checkpoints/blip2.safetensors',
    #                              fresh=['crossattention.attention.key', 'crossattention.attention.value']))
    projector=dict(in_channels=768),
    bbox_head=dict(embed_dims=768))
