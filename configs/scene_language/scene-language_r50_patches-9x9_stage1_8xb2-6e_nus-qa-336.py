# The MLP on patches, averaged to 9x9 a camera: 486 tokens, about as many as the 512 of the queries.
_base_ = './scene-language_r50_patches_stage1_8xb2-6e_nus-qa-336.py'

model = dict(scene_queries=dict(grid=(9, 9)))
