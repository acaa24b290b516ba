import pytest
import torch
from torch import nn
from two_cameras import cameras

from scene_qformer.geometry import project
from scene_qformer.models import CameraGridQueries

RANGE = (-40., -40., -5., 40., 40., 3.)


def build(grid=(1, 2), embed_dims=8, **kwargs):
    queries = CameraGridQueries(grid, embed_dims, initial_depth=10., point_cloud_range=RANGE, **kwargs)
    queries.init_weights()
    return queries


def features(num_cameras=2, batch_size=1):
    return [torch.randn(batch_size, num_cameras, 8, 4, 6)]


def test_points_lie_on_the_rays_of_the_cells():
    """Focal length 20, centre (28, 20): pixel (14, 20) looks 0.7 m to the left a metre, (42, 20) to the right."""
    points = build()(features(), cameras()).reference_points[0]
    metres = points * torch.tensor([80., 80., 8.]) - torch.tensor([40., 40., 5.])
    expected = [[10., 7., 0.], [10., -7., 0.], [-10., -7., 0.], [-10., 7., 0.]]  # camera 0, then 1, which looks back
    assert torch.allclose(metres, torch.tensor(expected), atol=1e-4)


def test_points_project_to_the_centres_of_their_cells():
    queries, both = build(grid=(3, 5)), cameras()
    points = queries(features(), both).reference_points.view(1, 2, 15, 3)
    metres = points * torch.tensor([80., 80., 8.]) - torch.tensor([40., 40., 5.])
    for camera in range(2):
        pixels, depth, _ = project(metres[:, camera], both['lidar2img'][:, camera:camera + 1])
        inside = ((points[0, camera] > 0) & (points[0, camera] < 1)).all(-1)  # others were drawn nearer
        assert 5 <= inside.sum() < 15
        cells = torch.tensor([[(column + 0.5) * 56 / 5, (row + 0.5) * 40 / 3]
                              for row in range(3) for column in range(5)])
        assert torch.allclose(pixels[0, 0], cells, atol=1e-3)
        assert torch.allclose(depth[0, 0, inside], torch.tensor(10.), atol=1e-4)
        assert (depth[0, 0, ~inside] < 10 - 1e-3).all()


def test_rows_that_look_out_of_the_range_stay_on_their_rays():
    """Like nuScenes' front camera at 672x336: at 20 m, the first and the last row have left the heights -5 to 3 m."""
    lidar2cam = torch.tensor([[1., 0, 0, 0], [0, 0, -1, -0.3], [0, 1, 0, -0.7], [0, 0, 0, 1]])
    cam2img = torch.tensor([[531.9, 0, 342.8, 0], [0, 531.9, 164.4, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    lidar2img = (cam2img @ lidar2cam)[None, None]
    queries = CameraGridQueries((6, 7), 8, initial_depth=20.)
    points = queries([torch.randn(1, 1, 8, 6, 7)], dict(lidar2img=lidar2img, image_size=torch.tensor([672., 336.])))
    low, high = queries.point_cloud_range.split(3)
    pixels, depth, _ = project(points.reference_points * (high - low) + low, lidar2img)
    rows = pixels[0, 0, :, 1].view(6, 7)
    assert torch.allclose(rows, torch.tensor([28., 84, 140, 196, 252, 308])[:, None].expand(6, 7), atol=1e-2)
    # rays of row 0 rise 136.4 / 531.9 m a metre, from -0.3 to 3 m in 12.9 m; those of row 1 would need 21.8 m
    expected = torch.tensor([3.3 * 531.9 / 136.4, 20, 20, 20, 20, 4.7 * 531.9 / 143.6])
    assert torch.allclose(depth.view(6, 7)[:, 3], expected, atol=1e-2)


def test_content_is_the_pooled_feature_and_the_cell():
    queries = build()
    queries.feature_norm = nn.Identity()
    with torch.no_grad():
        queries.feature_proj.weight.copy_(2 * torch.eye(8))
        queries.feature_proj.bias.fill_(0.)
        queries.cell_embedding.weight.copy_(torch.tensor([[0.5], [0.25]]).expand(2, 8))
    feat = torch.zeros(1, 2, 8, 1, 4)
    feat[0, 1, :, 0] = torch.tensor([1., 3., 5., 9.])
    query = queries([feat, torch.full((1, 2, 8, 1, 2), 9.)], cameras()).query  # of two levels, the finest
    assert query[0, :, 3].tolist() == [0.5, 0.25, 4.5, 14.25]


def test_any_number_of_cameras():
    queries, both = build(grid=(2, 3)), cameras(batch_size=2)
    assert queries.num_queries == 36  # as announced, of six cameras
    one = {name: value[:, :1] if value.dim() == 4 else value for name, value in both.items()}
    assert queries(features(2, 2), both).query.shape == (2, 12, 8)
    assert queries(features(1, 2), one).query.shape == (2, 6, 8)


def test_cameras_may_come_in_any_order():
    queries, both, (feat, ) = build(), cameras(), features()
    swapped = {name: value.flip(1) if value.dim() == 4 else value for name, value in both.items()}
    query, points, *_ = queries([feat], both)
    turned, turned_points, *_ = queries([feat.flip(1)], swapped)
    assert torch.allclose(turned, query.roll(2, 1), atol=1e-6)
    assert torch.allclose(turned_points, points.roll(2, 1), atol=1e-6)


def test_all_parameters_get_gradients():
    queries = build()
    query_set = queries(features(), cameras())
    ((query_set.query**2).sum() + query_set.reference_points.square().sum()).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in queries.parameters())


def test_needs_camera_matrices():
    with pytest.raises(ValueError, match='CameraGridQueries.*needs lidar2img.*PackSceneInputs'):
        build()(features(), dict(image_size=torch.tensor([56., 40.])))
