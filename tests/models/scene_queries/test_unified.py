import torch

from scene_qformer.models import SceneQueries


def features(batch_size):
    return [torch.zeros(batch_size, 2, 7, 3, 5)]


def test_every_sample_gets_the_same_queries():
    queries = SceneQueries(num_queries=5, embed_dims=7)
    queries.init_weights()
    query, reference_points, *_ = queries(features(3), {})
    assert query.shape == (3, 5, 7) and reference_points.shape == (3, 5, 3)
    assert torch.equal(query[1], queries.query_embedding.weight)
    assert torch.equal(reference_points[0], reference_points[2])


def test_reference_points_start_evenly_over_the_ground_plan():
    queries = SceneQueries(num_queries=64, embed_dims=4)
    queries.init_weights()
    points = queries(features(1), {}).reference_points[0]
    assert (points[:, 2] == 0.5).all()
    quarters = (points[:, 0] >= 0.5).int() * 2 + (points[:, 1] >= 0.5).int()
    assert quarters.bincount(minlength=4).tolist() == [16] * 4


def test_concentration_draws_points_to_the_middle():
    even, dense = SceneQueries(64, 4), SceneQueries(64, 4, concentration=2.)
    for queries in (even, dense):
        queries.init_weights()
    expected = (even.reference_points.weight[:, :2] * 2 - 1)**2
    assert torch.allclose((dense.reference_points.weight[:, :2] * 2 - 1).abs(), expected, atol=1e-6)
    assert torch.equal(even.reference_points.weight > 0.5, dense.reference_points.weight > 0.5)


def test_reference_points_stay_in_the_unit_cube():
    queries = SceneQueries(num_queries=2, embed_dims=4)
    with torch.no_grad():
        queries.reference_points.weight.copy_(torch.tensor([[-0.5, 0.25, 1.5], [0., 1., 0.5]]))
    assert torch.equal(queries(features(1), {}).reference_points[0], torch.tensor([[0., 0.25, 1.], [0., 1., 0.5]]))
