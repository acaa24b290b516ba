# Queries whose content depends on the images: each adds what it finds among 3x3 pooled features of every camera.
_base_ = './scene-qformer_r50_8xb4-24e_nus-336.py'

model = dict(scene_queries=dict(type='AdaptiveSceneQueries', grid=(3, 3)))
