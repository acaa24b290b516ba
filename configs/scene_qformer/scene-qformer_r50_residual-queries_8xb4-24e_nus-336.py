# Pooled image features join the content of every query, through a gate that opens in training.
_base_ = './scene-qformer_r50_8xb4-24e_nus-336.py'

model = dict(
    scene_queries=dict(_delete_=True, type='ResidualSceneQueries', queries=dict(type='SceneQueries', num_queries=512)))
