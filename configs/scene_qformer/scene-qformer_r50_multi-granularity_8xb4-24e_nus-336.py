# 512 queries of two granularities: 260 for the whole scene, and 6x7 for the parts of each of the six cameras' images.
_base_ = './scene-qformer_r50_8xb4-24e_nus-336.py'

model = dict(
    scene_queries=dict(
        _delete_=True,
        type='GroupedSceneQueries',
        groups=dict(whole=dict(num_queries=260), local=dict(type='CameraGridQueries', grid=(6, 7)))))
