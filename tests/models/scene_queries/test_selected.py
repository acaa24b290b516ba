import pytest
import torch
from mmdet3d.registry import MODELS
from torch import nn

from scene_qformer.models import SelectedSceneQueries


@MODELS.register_module()
class CameraNumberEncoding(nn.Module):
    """Adds 10 times its camera's number to channel 1."""

    def forward(self, img_feats, cameras):
        code = torch.zeros(1, img_feats[0].shape[1], img_feats[0].shape[2], 1, 1)
        code[0, :, 1, 0, 0] = 10. * torch.arange(img_feats[0].shape[1])
        return [code] * len(img_feats)


def build(num_queries=2, embed_dims=3):
    queries = SelectedSceneQueries(dict(type='CameraNumberEncoding'), num_queries, embed_dims)
    queries.init_weights()
    return queries


def by_hand():
    """The score is channel 0; content and point are the feature as it is."""
    queries = build()
    queries.feature_norm = nn.Identity()
    with torch.no_grad():
        queries.score.weight.copy_(torch.tensor([[1., 0., 0.]]))
        queries.score.bias.fill_(0.)
        for layer in (queries.content_proj, queries.point_mlp[0], queries.point_mlp[2]):
            layer.weight.copy_(torch.eye(3))
            layer.bias.fill_(0.)
        queries.query_embedding.weight.copy_(torch.tensor([[0., 0., 5.], [0., 0., 7.]]))
    return queries


def test_takes_the_strongest_cells_of_all_cameras_and_levels():
    """Two cameras, levels of 1x2 and 1x1 cells; the strongest are in camera 1, level 0, and camera 0, level 1."""
    fine, coarse = torch.full((1, 2, 3, 1, 2), -9.), torch.full((1, 2, 3, 1, 1), -9.)
    fine[0, 1, :, 0, 1] = torch.tensor([0., 1., 2.])
    coarse[0, 0, :, 0, 0] = torch.tensor([1., 3., 4.])
    query, reference_points, *_ = by_hand()([fine, coarse], {})
    strong = 1 / (1 + torch.exp(torch.tensor(-1.)))
    expected = torch.tensor([[strong * 1., strong * 3., 5 + strong * 4.], [0., 0.5 * 11., 7 + 0.5 * 2.]])
    assert torch.allclose(query[0], expected)
    assert torch.allclose(reference_points[0], torch.tensor([[1., 3., 4.], [0., 11., 2.]]).sigmoid())


def test_each_sample_selects_for_itself():
    feat = torch.randn(2, 3, 3, 5, 7)
    queries = build(num_queries=4)
    batched, single = queries([feat], {}), queries([feat[1:]], {})
    assert torch.allclose(batched.query[1:], single.query, atol=1e-6)
    assert torch.allclose(batched.reference_points[1:], single.reference_points, atol=1e-6)


def test_all_parameters_and_the_chosen_cells_get_gradients():
    queries, feat = build(), torch.randn(1, 2, 3, 1, 5, requires_grad=True)
    query_set = queries([feat], {})
    ((query_set.query**2).sum() + query_set.reference_points[..., 0].sum()).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in queries.parameters())
    assert (feat.grad.abs().sum(2) > 0).sum() == 2


def test_the_score_learns_which_cells_help():
    """Channel 0 says which half of the cells is worth something; the score starts by preferring the others."""
    queries = by_hand()
    with torch.no_grad():
        queries.score.weight.copy_(torch.tensor([[-1., 0., 0.]]))
        feat = torch.randn(1, 1, 3, 1, 10) * 0.1
        feat[0, 0, 0, 0] = torch.tensor([1., -1.]).repeat(5)
    optimizer = torch.optim.SGD(queries.score.parameters(), lr=1.)
    assert queries([feat], {}).query[..., 0].max() < 0
    for _ in range(100):
        optimizer.zero_grad()
        (-queries([feat], {}).query[..., 0].sum()).backward()
        optimizer.step()
    assert queries([feat], {}).query[..., 0].min() > 0.5


def test_fewer_cells_than_queries():
    with pytest.raises(ValueError, match='num_queries=31, but the images have only 30 feature cells.*Lower'):
        build(num_queries=31)([torch.randn(1, 2, 3, 3, 5)], {})
