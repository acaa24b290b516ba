# The 512 of 2646 feature cells that a learned score prefers become queries; their position code tells where they look.
_base_ = './scene-qformer_r50_8xb4-24e_nus-336.py'

model = dict(
    scene_queries=dict(type='SelectedSceneQueries', positional_encoding={{_base_.model.positional_encoding}}))
