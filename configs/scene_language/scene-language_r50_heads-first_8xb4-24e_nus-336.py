# Heads first: the default detection training. Without its projector, which detection does not train, so that stage 1
# starts one of the width of its language model.
_base_ = '../scene_qformer/scene-qformer_r50_8xb4-24e_nus-336.py'

model = dict(projector=None)
