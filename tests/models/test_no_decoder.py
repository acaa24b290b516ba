import torch

from scene_qformer.models import NoDecoder
from scene_qformer.models.surround_memory import flatten_memory


def test_no_decoder_gives_the_queries_back_as_its_only_layer():
    query, points = torch.randn(2, 7, 5), torch.rand(2, 7, 3)
    states, moved = NoDecoder()(query=query, reference_points=points, attn_mask=None, cameras={},
                                **flatten_memory([torch.randn(2, 3, 5, 1, 2)], [torch.zeros(1, 1, 5, 1, 2)]))
    assert torch.equal(states, query[None]) and torch.equal(moved, points[None])
    assert not list(NoDecoder().parameters())
