import torch

from scene_qformer.models import QueryDenoising

RANGE = (-10., -20., -4., 10., 20., 4.)


def build(**kwargs):
    return QueryDenoising(embed_dims=5, num_groups=3, point_cloud_range=RANGE, **kwargs)


def test_shifts_each_object_within_the_noise():
    centers = [torch.tensor([[1., 2., 0.], [-5., 6., 1.]]), torch.tensor([[9.9, -19.9, 3.9]])]
    denoising = build(center_noise=(2., 3., 0.5))(centers)
    assert denoising.query.shape == (2, 6, 5) and denoising.reference_points.shape == (2, 6, 3)
    assert denoising.object_index.tolist() == [[0, 1, 0, 1, 0, 1], [0, -1, 0, -1, 0, -1]]
    points = denoising.reference_points * torch.tensor([20., 40., 8.]) - torch.tensor([10., 20., 4.])
    for sample, index in enumerate(denoising.object_index):
        for point, number in zip(points[sample], index):
            if number >= 0:
                assert ((point - centers[sample][number]).abs() <= torch.tensor([2., 3., 0.5]) + 1e-4).all()
    assert denoising.reference_points.min() >= 0 and denoising.reference_points.max() <= 1
    assert not torch.equal(points[0, 0], points[0, 2])  # every copy is shifted anew


def test_mask_as_drawn_in_the_docstring():
    denoising = QueryDenoising(embed_dims=5, num_groups=2)
    x, o = True, False
    drawn = [[o, x, o, o], [x, o, o, o], [x, x, o, o], [x, x, o, o]]
    assert denoising([torch.zeros(1, 3)]).attention_mask(2).tolist() == drawn
    mask = denoising([torch.zeros(3, 3)]).attention_mask(1)  # two groups of three
    assert mask[:3, :3].any().item() is False and mask[:3, 3:6].all() and mask[6, :6].all()


def test_mask_of_a_group_as_drawn_in_the_docstring():
    """The head's query is q1, which is blind to q0."""
    x, o = True, False
    denoising = QueryDenoising(embed_dims=5, num_groups=2)([torch.zeros(1, 3)])
    mask = denoising.attention_mask(2, torch.tensor([[o, o], [x, o]]), slice(1, 2))
    assert mask.tolist() == [[o, x, x, o], [x, o, x, o], [x, x, o, o], [x, x, x, o]]
    everything = denoising.attention_mask(2, torch.tensor([[o, o], [x, o]]))  # the head has both queries
    assert everything[:2, 2:].any().item() is False


def test_no_objects_at_all():
    denoising = build()([torch.zeros(0, 3), torch.zeros(0, 3)])
    assert not denoising.attention_mask(4).any()
    assert denoising.query.shape == (2, 0, 5) and denoising.object_index.shape == (2, 0)


def test_only_queries_without_an_object_are_hidden():
    even = build()([torch.zeros(2, 3), torch.zeros(2, 3)])
    assert even.padding_mask(4) is None and build()([torch.zeros(0, 3), torch.zeros(0, 3)]).padding_mask(4) is None
    uneven = build()([torch.zeros(1, 3), torch.zeros(0, 3)])
    x, o = True, False
    assert uneven.padding_mask(2).tolist() == [[o, o, o, o, o], [x, x, x, o, o]]
    learned = torch.tensor([[o, x], [o, o]])  # hidden for another reason
    assert uneven.padding_mask(2, learned).tolist() == [[o, o, o, o, x], [x, x, x, o, o]]
    assert even.padding_mask(2, learned).tolist() == [[o] * 6 + [o, x], [o] * 8]
