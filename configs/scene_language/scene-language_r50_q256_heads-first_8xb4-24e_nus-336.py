# Heads first, for 256 scene tokens.
_base_ = './scene-language_r50_heads-first_8xb4-24e_nus-336.py'

model = dict(scene_queries=dict(num_queries=256))
