import math

import pytest
import torch
from torch import nn

from scene_qformer.models import AdaptiveSceneQueries


def by_hand():
    """Two channels, one head; queries, keys and values are taken as they are."""
    queries = AdaptiveSceneQueries(num_queries=3, embed_dims=2, grid=(1, 1), num_heads=1)
    queries.query_norm = queries.feature_norm = nn.Identity()
    with torch.no_grad():
        queries.attention.attn.in_proj_weight.copy_(torch.eye(2).repeat(3, 1))
        queries.attention.attn.out_proj.weight.copy_(torch.eye(2))
        queries.query_embedding.weight.copy_(torch.tensor([[0., 0.], [2., 0.], [0., 3.]]))
    return queries


def test_adds_what_each_query_finds_among_the_cameras():
    """Two cameras, whose cells average to (1, 0) and (0, 1)."""
    feat = torch.zeros(1, 2, 2, 1, 4)
    feat[0, 0, 0] = torch.tensor([0., 0., 1., 3.])
    feat[0, 1, 1] = 1.
    query = by_hand()([torch.full((1, 2, 2, 2, 8), 9.), feat], {}).query[0]  # of two levels, the coarsest
    first, second = (1 / (1 + math.exp(-size / math.sqrt(2))) for size in (2., 3.))
    expected = torch.tensor([[0.5, 0.5], [2 + first, 1 - first], [1 - second, 3 + second]])
    assert torch.allclose(query, expected, atol=1e-6)


def test_cells_of_the_grid_are_keys_of_their_own():
    queries = by_hand()
    queries.grid = (1, 2)
    feat = torch.zeros(1, 1, 2, 1, 4)
    feat[0, 0, :, 0, :2] = torch.tensor([[4.], [0.]])
    query = queries([feat], {}).query[0]
    weight = 1 / (1 + math.exp(-2 * 4 / math.sqrt(2)))
    assert torch.allclose(query[1], torch.tensor([2 + 4 * weight, 0.]), atol=1e-6)


def build():
    """As if it had trained: the output projection has left zero."""
    queries = AdaptiveSceneQueries(num_queries=5, embed_dims=6, num_heads=3)
    queries.init_weights()
    nn.init.xavier_uniform_(queries.attention.attn.out_proj.weight)
    return queries


def test_starts_as_the_learned_queries():
    queries = AdaptiveSceneQueries(num_queries=5, embed_dims=6, num_heads=3)
    queries.init_weights()
    query = queries([torch.randn(2, 3, 6, 5, 7)], {}).query
    assert torch.equal(query, queries.query_embedding.weight.expand(2, 5, 6))
    query.square().sum().backward()
    assert queries.attention.attn.out_proj.weight.grad.any()


def test_queries_differ_in_what_they_find():
    """Also at first, when their embeddings are tiny."""
    queries, feat = build(), torch.randn(1, 3, 6, 5, 7)
    found = (queries([feat], {}).query - queries.query_embedding.weight).detach()
    assert found.std(dim=1).mean() > 0.02
    queries.query_norm = nn.Identity()
    assert (queries([feat], {}).query - queries.query_embedding.weight).std(dim=1).mean() < 0.01


def test_each_sample_has_queries_of_its_own_and_the_order_of_cameras_does_not_matter():
    queries, feat = build(), torch.randn(2, 3, 6, 5, 7)
    query, reference_points, *_ = queries([feat], {})
    assert not torch.allclose(query[0], query[1], atol=1e-3)
    assert torch.equal(reference_points[0], reference_points[1])
    assert torch.allclose(queries([feat.flip(1)], {}).query, query, atol=1e-6)
    assert torch.allclose(queries([feat[1:]], {}).query, query[1:], atol=1e-6)


def test_all_parameters_and_the_images_get_gradients():
    queries, feat = build(), torch.randn(2, 3, 6, 5, 7, requires_grad=True)
    query_set = queries([feat], {})
    (query_set.query**2).sum().backward()
    assert feat.grad.abs().sum() > 0
    assert {name for name, parameter in queries.named_parameters()
            if parameter.grad is None or not parameter.grad.abs().sum()} == {'reference_points.weight'}


def test_heads_must_divide_the_channels():
    with pytest.raises(ValueError, match='num_heads=4 does not divide embed_dims=6'):
        AdaptiveSceneQueries(num_queries=5, embed_dims=6, num_heads=4)
