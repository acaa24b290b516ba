# Eight layers of full self-attention over scene and image tokens (Flex, arXiv 2512.10947) instead of a decoder.
_base_ = './scene-qformer_r50_8xb4-24e_nus-336.py'

model = dict(decoder=dict(_delete_=True, type='JointSceneEncoder', num_layers=8, embed_dims=256))
