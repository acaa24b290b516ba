import torch
from scene_qformer.models import SceneQueries


def test_every_sample_gets_the_same_queries():
    queries = SceneQueries(num_queries=5, embed_dims=7)
    queries.init_weights()
    query, reference_points = queries(3)
    assert query.shape == (3, 5, 7) and reference_points.shape == (3, 5, 3)
    assert torch.equal(query[1], queries.query_embedding.weight)
    assert torch.equal(reference_points[0], reference_points[2])


def test_reference_points_start_evenly_over_the_ground_plan():
    queries = SceneQueries(num_queries=64, embed_dims=4)
    queries.init_weights()
    points = queries(1)[1][0]
    assert (points[:, 2] == 0.5).all()
    quarters = (points[:, 0] >= 0.5).int() * 2 + (points[:, 1] >= 0.5).int()
    assert quarters.bincount(minlength=4).tolist() == [16] * 4


def test_reference_points_stay_in_the_unit_cube():
    queries = SceneQueries(num_queries=2, embed_dims=4)
    with torch.no_grad():
        queries.reference_points.weight.copy_(torch.tensor([[-0.5, 0.25, 1.5], [0., 1., 0.5]]))
    assert torch.equal(queries(1)[1][0], torch.tensor([[0., 0.25, 1.], [0., 1., 0.5]]))
