# Few queries: 32 scene tokens, as BLIP-2's Q-Former has. A scene with more objects teaches it the 32 that match best.
_base_ = './scene-qformer_r50_8xb4-24e_nus-336.py'

model = dict(scene_queries=dict(num_queries=32))
