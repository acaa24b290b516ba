import pytest
import torch
from scene_qformer.models import SceneQueries


def test_every_sample_gets_the_same_queries():
    queries = SceneQueries(num_queries=5, embed_dims=8)
    queries.init_weights()
    state = queries(3)
    assert state.query.shape == state.query_pos.shape == (3, 5, 8)
    assert state.reference_points.shape == (3, 5, 3)
    for tensor in state:
        assert torch.equal(tensor[0], tensor[2])
    assert torch.equal(state.query[1], queries.query_embedding.weight)


def test_reference_points_stay_in_the_unit_cube():
    queries = SceneQueries(num_queries=2, embed_dims=8)
    with torch.no_grad():
        queries.reference_points.weight.copy_(torch.tensor([[-0.5, 0.25, 1.5], [0., 1., 0.5]]))
    assert torch.equal(queries(1).reference_points[0], torch.tensor([[0., 0.25, 1.], [0., 1., 0.5]]))


def test_position_code_follows_the_reference_point():
    queries = SceneQueries(num_queries=3, embed_dims=8)
    with torch.no_grad():
        queries.reference_points.weight.copy_(torch.tensor([[.1, .2, .3], [.1, .2, .3], [.1, .2, .4]]))
    position = queries(1).query_pos[0]
    assert torch.equal(position[0], position[1])
    assert not torch.allclose(position[0], position[2])


def test_width_that_cannot_hold_the_code_is_refused():
    with pytest.raises(ValueError, match='divisible by 4.*got 6'):
        SceneQueries(num_queries=3, embed_dims=6)
