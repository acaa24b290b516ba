# Half of the queries start at object centres that a dense head finds in the images (as in Far3D, arXiv 2308.09616).
_base_ = './scene-qformer_r50_8xb4-24e_nus-336.py'

model = dict(scene_queries=dict(type='ProposalQueries', num_proposals=256))
