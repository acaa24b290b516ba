# The layout of OmniDrive (arXiv 2405.01533) and ORION (arXiv 2503.19755): 256 + 1 + 256 = 513 scene tokens, which see
# the 600 perception queries that detect, but are not seen by them.
_base_ = './scene-qformer_r50_8xb4-24e_nus-336.py'

model = dict(
    scene_queries=dict(
        _delete_=True,
        type='GroupedSceneQueries',
        groups=dict(
            det=dict(num_queries=256), ego=dict(num_queries=1), map=dict(num_queries=256),
            objects=dict(num_queries=600)),
        blind=dict(objects=['det', 'ego', 'map']),
        token_groups=['det', 'ego', 'map']),
    bbox_head=dict(query_group='objects'))
