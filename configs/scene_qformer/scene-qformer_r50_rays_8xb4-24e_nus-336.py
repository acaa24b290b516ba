# Viewing rays in the LiDAR frame instead of the camera ID: cameras are told by their calibration, so training may also
# turn and warp the rig (RandomRotateScaleScene, RandomWarpSurroundImages).
_base_ = './scene-qformer_r50_8xb4-24e_nus-336.py'

model = dict(
    positional_encoding=dict(
        encodings=[
            dict(type='Sine2DEncoding', embed_dims=256),
            dict(type='RayEncoding', embed_dims=256, frame='lidar', center_range=4.0),  # metres
        ]))
