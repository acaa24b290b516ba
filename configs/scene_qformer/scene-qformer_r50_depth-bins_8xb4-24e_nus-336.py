# PETR's 3D position encoding, which ORION and OmniDrive use, instead of 2D sine and camera ID: the points of each cell
# at 64 depths.
_base_ = './scene-qformer_r50_8xb4-24e_nus-336.py'

model = dict(
    positional_encoding=dict(
        _delete_=True,
        type='DepthBinEncoding',
        embed_dims=256,
        num_bins=64,
        depth_start=1.0,  # metres
        depth_end=61.2,
        position_range=[-61.2, -61.2, -10.0, 61.2, 61.2, 10.0]))
