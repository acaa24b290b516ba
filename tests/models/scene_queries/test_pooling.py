import torch

from scene_qformer.models.scene_queries.pooling import pool_cameras


def test_averages_each_camera_over_the_cells_of_the_grid():
    feat = torch.arange(2 * 3 * 1 * 2 * 4.).view(2, 3, 1, 2, 4)  # camera (0, 0): rows 0 1 2 3 and 4 5 6 7
    pooled = pool_cameras(feat, (1, 2))
    assert pooled.shape == (2, 3, 2, 1)
    assert pooled[0, 0].flatten().tolist() == [2.5, 4.5]
    assert pooled[1, 2].flatten().tolist() == [42.5, 44.5]
    assert pool_cameras(feat, (2, 2))[0, 0].flatten().tolist() == [0.5, 2.5, 4.5, 6.5]
