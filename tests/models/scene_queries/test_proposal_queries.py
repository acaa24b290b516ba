import pytest
import torch
from two_cameras import OBJECTS, cameras, features

from scene_qformer.geometry import cell_centers, project
from scene_qformer.models import ProposalQueries
from scene_qformer.models.heads.image_center_head import ImageCenters

RANGE = (-20., -20., -4., 20., 20., 4.)


@pytest.fixture
def queries():
    torch.manual_seed(0)
    queries = ProposalQueries(
        num_queries=11, num_proposals=2, embed_dims=8, center_head=dict(num_classes=3), point_cloud_range=RANGE)
    queries.init_weights()
    return queries


def test_shapes(queries):
    query_set = queries([features(3)], cameras(3))
    assert query_set.query.shape == (3, 11, 8) and query_set.reference_points.shape == (3, 11, 3)
    assert query_set.attn_mask is None and query_set.proposals.heatmap.shape == (3, 2, 3, 5, 7)
    assert (query_set.reference_points >= 0).all() and (query_set.reference_points <= 1).all()


def test_true_centers_become_reference_points(queries, monkeypatch):
    """The dense head says the truth: the two visible objects' centres must come out, best score first."""
    head = queries.center_head
    empty = head(features(), cameras())
    targets = head.targets(empty, cameras(), [OBJECTS])
    batch, camera, row, column = targets.cells
    offset, depth = torch.zeros_like(empty.offset), torch.full_like(empty.depth, 3.)
    offset[batch, camera, :, row, column] = targets.offset
    depth[batch, camera, row, column] = targets.depth
    heatmap = targets.heatmap * 9 - 8
    heatmap[0, 1] += 1  # the object behind is surer
    monkeypatch.setattr(head, 'forward', lambda *_: ImageCenters(heatmap, offset, depth))
    points = queries([features()], cameras()).reference_points[0, :2] * 40 - 20
    points[:, 2] = (points[:, 2] + 20) / 40 * 8 - 4
    assert torch.allclose(points, OBJECTS.gt_instances_3d.bboxes_3d.gravity_center[[1, 0]], atol=1e-4)


def test_neighbours_of_a_peak_come_last(queries):
    heatmap = torch.full((1, 1, 2, 3, 7), -9.)
    heatmap[0, 0, 0, 1, 1], heatmap[0, 0, 1, 1, 2], heatmap[0, 0, 1, 1, 5] = 3., 2., 1.
    order = queries._peaks(heatmap)[0].topk(3).indices.tolist()
    assert order[:2] == [7 + 1, 7 + 5]


def test_content_learns_from_the_cells(queries):
    feat = features().requires_grad_()
    query_set = queries([feat], cameras())
    query_set.reference_points[:, :2].sum().backward(retain_graph=True)
    assert feat.grad is None  # the dense head alone answers for where it points
    query_set.query[:, :2].square().sum().backward()
    assert (feat.grad[0].abs().sum(1) > 0).sum() >= 2  # the two cells, and what the classes were read from


def test_its_loss_is_the_dense_heads(queries):
    losses = queries.loss(queries([features()], cameras()), cameras(), [OBJECTS])
    assert set(losses) == {'loss_heatmap', 'loss_offset', 'loss_depth'}


@pytest.mark.parametrize('num_proposals', [0, 11])
def test_some_of_both(num_proposals):
    with pytest.raises(ValueError, match='0 < num_proposals < num_queries'):
        ProposalQueries(num_queries=11, num_proposals=num_proposals, embed_dims=8)


def test_more_proposals_than_cells():
    queries = ProposalQueries(num_queries=97, num_proposals=71, embed_dims=8)
    with pytest.raises(ValueError, match='71 proposals, but the images have only 70 cells'):
        queries([features()], cameras())


def test_proposals_beyond_the_range_stay_on_their_rays(queries, monkeypatch):
    """At 500 m all points are outside: each must come back to the border in the direction of its own cell."""
    head = queries.center_head
    empty = head(features(2), cameras(2))
    far = ImageCenters(torch.rand_like(empty.heatmap), torch.zeros_like(empty.offset),
                       torch.full_like(empty.depth, 500.))
    cells = torch.arange(2 * 35).expand(2, -1)[..., None]
    points = queries._points(far, cells, cameras(2)) * torch.tensor([40., 40, 8]) - torch.tensor([20., 20, 4])
    assert torch.allclose((points.abs() / torch.tensor([20., 20, 4])).amax(-1), torch.tensor(1.), atol=1e-5)
    for camera in range(2):
        pixels, depth, _ = project(points[:, camera * 35:][:, :35], cameras(2)['lidar2img'][:, camera:camera + 1])
        expected = cell_centers(5, 7, 8).flatten(0, 1)
        assert torch.allclose(pixels[:, 0], expected.expand(2, -1, -1), atol=1e-3) and (depth > 1).all()
