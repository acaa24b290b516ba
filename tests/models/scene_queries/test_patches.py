import pytest
import torch
from mmdet3d.registry import MODELS
from torch import nn

from scene_qformer.models import GroupedSceneQueries, PatchQueries, Sine2DEncoding
from scene_qformer.models.surround_memory import flatten_memory


@MODELS.register_module()
class CellNumberEncoding(nn.Module):
    """1000 times the camera's number + 100 times the cell's, times a weight."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, img_feats, cameras):
        assert cameras == {'image_size': 'any'}
        codes = []
        for feat in img_feats:
            cells = 100. * torch.arange(feat.shape[3] * feat.shape[4]).view(1, 1, 1, *feat.shape[3:])
            codes.append(self.weight * (cells + 1000. * torch.arange(feat.shape[1]).view(1, -1, 1, 1, 1)))
        return codes


def build(**kwargs):
    return PatchQueries(dict(type='CellNumberEncoding'), embed_dims=1, **kwargs)


# two cameras: 2x3 cells with features 0 ... 11, and one coarse cell each, 20 and 30
FINE = torch.arange(12.).view(1, 2, 1, 2, 3)
COARSE = torch.tensor([20., 30.]).view(1, 2, 1, 1, 1)
CAMERAS = {'image_size': 'any'}


def test_every_cell_camera_by_camera_level_by_level_row_by_row():
    query, points, mask, groups, _, tokens, padding = build()([FINE, COARSE], CAMERAS)
    assert query[0, :, 0].tolist() == [0, 101, 202, 303, 404, 505, 20,
                                       1006, 1107, 1208, 1309, 1410, 1511, 1030]
    assert points.shape == (1, 14, 3) and (points == 0.5).all()
    assert mask is None and tokens is None and padding is None and not groups


def test_the_order_is_the_memorys():
    feats = [torch.randn(2, 3, 5, 7, 2), torch.randn(2, 3, 5, 3, 1)]
    queries = PatchQueries(dict(type='CameraIDEncoding', embed_dims=5, num_cameras=3), embed_dims=5)
    memory = flatten_memory(feats, queries.positional_encoding(feats, {}))
    assert torch.equal(queries(feats, {}).query, memory['value'])


def test_a_grid_averages_and_is_told_its_own_cells():
    """2x3 to 1x3: columns (0 + 3) / 2, (1 + 4) / 2, (2 + 5) / 2, numbered 0, 1, 2."""
    query = build(grid=(1, 3))([FINE], CAMERAS).query
    assert query[0, :, 0].tolist() == [1.5, 102.5, 203.5, 1007.5, 1108.5, 1209.5]


def test_cells_of_a_grid_know_their_centres():
    """Not the mean of their parts' codes, in which short waves would cancel."""
    queries = PatchQueries(dict(type='Sine2DEncoding', embed_dims=8), grid=(2, 3), embed_dims=8)
    query = queries([torch.zeros(1, 1, 8, 4, 9)], {}).query
    expected, = Sine2DEncoding(8)([torch.zeros(1, 1, 8, 2, 3)], {})
    assert torch.allclose(query[0], expected[0, 0].flatten(1).T)


def test_announces_as_many_as_come():
    assert PatchQueries(dict(type='Sine2DEncoding')).num_queries == 2646  # of the default design
    assert build(num_cameras=2, num_cells=6).num_queries == build()([FINE], CAMERAS).query.shape[1] == 12
    assert build(num_cameras=2, grid=(1, 3)).num_queries == build(grid=(1, 3))([FINE], CAMERAS).query.shape[1]


def test_beside_other_queries():
    patches = dict(type='PatchQueries', positional_encoding=dict(type='Sine2DEncoding', embed_dims=8), grid=(1, 2),
                   num_cameras=3)
    queries = GroupedSceneQueries(dict(whole=dict(num_queries=7), patches=patches), embed_dims=8)
    query_set = queries([torch.randn(2, 3, 8, 2, 5)], {})
    assert query_set.query.shape == (2, queries.num_queries, 8) == (2, 13, 8)
    assert query_set.groups['patches'] == slice(7, 13)


def test_encoding_and_cells_get_gradients():
    feat = torch.randn(1, 2, 1, 3, 5, requires_grad=True)
    queries = build(grid=(2, 3))
    queries([feat], CAMERAS).query.square().sum().backward()
    assert queries.positional_encoding.weight.grad.abs() > 0 and (feat.grad.abs() > 0).all()


@pytest.mark.parametrize('grid', [(3, 1), (1, 4)])
def test_no_finer_than_the_map(grid):
    with pytest.raises(ValueError, match=r'map of the images has only \(2, 3\) rows and columns.*smaller grid'):
        build(grid=grid)([FINE], CAMERAS)


def test_points_stay_exact_in_half_precision():
    query_set = build()([FINE.bfloat16()], CAMERAS)
    assert query_set.reference_points.dtype == torch.float32
