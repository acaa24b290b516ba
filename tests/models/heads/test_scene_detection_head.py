import math

import pytest
import torch
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmengine.structures import InstanceData

from scene_qformer.models import SceneDetectionHead

RANGE = (-10., -20., -4., 10., 20., 4.)


@pytest.fixture
def head():
    torch.manual_seed(0)
    head = SceneDetectionHead(num_classes=3, embed_dims=8, point_cloud_range=RANGE)
    head.init_weights()
    return head


def sample(boxes, labels):
    boxes = torch.tensor(boxes, dtype=torch.float32).view(-1, 9)
    data_sample = Det3DDataSample(metainfo=dict(sample_token='aaa', box_type_3d=LiDARInstance3DBoxes))
    data_sample.gt_instances_3d = InstanceData(
        bboxes_3d=LiDARInstance3DBoxes(boxes, box_dim=9), labels_3d=torch.tensor(labels, dtype=torch.long))
    return data_sample


TWO_CARS = ([[1., 2., -1., 4., 2., 1.5, 0.3, 1., 0.], [-5., 6., -1., 4., 2., 1.5, -0.3, 0., 0.]], [0, 2])


def test_starts_at_the_reference_points(head):
    reference = torch.tensor([[[0.5, 0.25, 0.75], [0.1, 0.9, 0.5]]])
    logits, codes = head(torch.randn(2, 1, 2, 8), reference.expand(2, 1, 2, 3))
    assert logits.shape == (2, 1, 2, 3) and codes.shape == (2, 1, 2, 10)
    expected = torch.tensor([[0., -10., 2.], [-8., 16., 0.]])  # low + fraction * (high - low)
    assert torch.allclose(codes[0, 0, :, :3], expected, atol=1e-4)
    assert torch.equal(codes[..., 3:], torch.zeros(2, 1, 2, 7))
    assert torch.allclose(logits.sigmoid().mean(), torch.tensor(0.01), atol=0.02)


def test_bbox_loss_by_hand(head):
    """Zero codes at the two reference points nearest to two objects: every term can be added up."""
    reference = torch.tensor([[[[0.55, 0.55, 0.5], [0.25, 0.65, 0.5], [0.9, 0.1, 0.5]]]])
    losses = head.loss(torch.zeros(1, 1, 3, 8), reference, [sample(*TWO_CARS)])
    distance = 0.
    for (x, y), (cx, cy, yaw, vx) in zip(((1., 2.), (-5., 6.)), ((1., 2., 0.3, 1.), (-5., 6., -0.3, 0.))):
        distance += abs(cx - x) + abs(cy - y) + abs(-1 + 1.5 / 2)  # centre of gravity: half a height above the bottom
        distance += math.log(4) + math.log(2) + math.log(1.5) + abs(math.sin(yaw)) + abs(math.cos(yaw)) + 0.2 * vx
    assert losses['loss_bbox'].item() == pytest.approx(0.25 * distance / 2, rel=1e-4)


def test_perfect_predictions_cost_nothing(head):
    data_sample = sample(*TWO_CARS)
    target = head._targets(data_sample, torch.zeros(1))
    logits = torch.full((1, 5, 3), -20.)
    logits[0, 1, 0] = logits[0, 3, 2] = 20.
    codes = torch.full((1, 5, 10), 3.)
    codes[0, 1], codes[0, 3] = target.bboxes
    objects = head._match(logits[0], codes[0], target)
    assert objects.tolist() == [-1, 0, -1, 1, -1]
    loss_cls, loss_bbox = head._layer_loss(logits, codes, [target], objects[None])
    assert loss_cls.item() < 1e-6 and loss_bbox.item() == 0


def test_each_layer_has_its_losses_and_batched_equals_single(head):
    queries = torch.randn(3, 2, 7, 8)
    reference = torch.rand(1, 7, 3).expand(3, 2, 7, 3)
    samples = [sample(*TWO_CARS), sample([TWO_CARS[0][0]], [1])]
    torch.nn.init.normal_(head.reg_branch[-1].weight, std=0.1)
    losses = head.loss(queries, reference, samples)
    assert set(losses) == {'loss_cls', 'loss_bbox', 'd0.loss_cls', 'd0.loss_bbox', 'd1.loss_cls', 'd1.loss_bbox'}
    singles = [head.loss(queries[:, i:i + 1], reference[:, :1], samples[i:i + 1]) for i in range(2)]
    for name in losses:  # losses are averaged over objects: 2 in one sample, 1 in the other
        joint = (2 * singles[0][name] + singles[1][name]) / 3
        assert losses[name].item() == pytest.approx(joint.item(), rel=1e-4), name


def test_no_objects_gives_finite_losses_and_all_gradients(head):
    head.loss(torch.randn(1, 1, 5, 8), torch.rand(1, 1, 5, 3), [sample([], [])])
    losses = head.loss(torch.randn(1, 1, 5, 8), torch.rand(1, 1, 5, 3), [sample([], [])])
    assert losses['loss_bbox'].item() == 0 and 0 < losses['loss_cls'].item() < 1
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_more_objects_than_queries(head):
    boxes = torch.rand(7, 9).tolist()
    losses = head.loss(torch.randn(1, 1, 3, 8), torch.rand(1, 1, 3, 3), [sample(boxes, [0] * 7)])
    assert all(loss.isfinite() for loss in losses.values())


def test_predicts_boxes_in_mmdet3d_convention(head):
    queries, reference = torch.randn(2, 2, 5, 8), torch.rand(2, 2, 5, 3)
    metas = [dict(box_type_3d=LiDARInstance3DBoxes)] * 2
    results = head.predict(queries, reference, metas)
    _, codes = head(queries, reference)
    assert len(results) == 2
    for index, result in enumerate(results):
        assert isinstance(result.bboxes_3d, LiDARInstance3DBoxes) and result.bboxes_3d.box_dim == 9
        assert len(result.scores_3d) == 15 and (result.scores_3d.diff() <= 0).all()
        centers = {tuple(round(x, 3) for x in center) for center in result.bboxes_3d.gravity_center.tolist()}
        wanted = {tuple(round(x, 3) for x in center) for center in codes[-1, index, :, :3].tolist()}
        assert centers == wanted
        assert torch.allclose(result.bboxes_3d.bottom_center[:, 2], result.bboxes_3d.gravity_center[:, 2] - 0.5)


def test_boxes_without_velocity_are_refused(head):
    data_sample = sample(*TWO_CARS)
    data_sample.gt_instances_3d.bboxes_3d = LiDARInstance3DBoxes(torch.rand(2, 7))
    with pytest.raises(ValueError, match='aaa has 7.*with_velocity=True'):
        head.loss(torch.randn(1, 1, 5, 8), torch.rand(1, 1, 5, 3), [data_sample])


def test_learns_two_boxes():
    torch.manual_seed(0)
    head = SceneDetectionHead(num_classes=3, embed_dims=8, point_cloud_range=RANGE)
    head.init_weights()
    queries = torch.randn(1, 1, 5, 8).requires_grad_()
    reference = torch.rand(1, 1, 5, 3)
    optimizer = torch.optim.Adam([queries, *head.parameters()], lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        loss = sum(head.loss(queries, reference, [sample(*TWO_CARS)]).values())
        loss.backward()
        optimizer.step()
    result, = head.predict(queries, reference, [dict(box_type_3d=LiDARInstance3DBoxes)])
    best = result[:2]
    order = best.labels_3d.argsort()
    assert best.labels_3d[order].tolist() == TWO_CARS[1]
    assert torch.allclose(best.bboxes_3d.tensor[order], torch.tensor(TWO_CARS[0]), atol=0.3)


def test_ray_aligned_codes_turn_with_the_ray():
    """The same raw code under two azimuths: the boxes are turned copies of each other."""
    torch.manual_seed(0)
    head = SceneDetectionHead(num_classes=3, embed_dims=8, point_cloud_range=(-10., -10., -4., 10., 10., 4.),
                              ray_aligned=True)
    torch.nn.init.normal_(head.reg_branch[-1].weight)
    ahead, left = torch.tensor([0.9, 0.5, 0.5]), torch.tensor([0.5, 0.9, 0.5])  # azimuths 0 and 90 degrees
    query = torch.randn(8).expand(1, 1, 2, 8)
    _, codes = head(query, torch.stack((ahead, left))[None, None])
    first, second = codes[0, 0]
    raw = head.reg_branch(query)[0, 0, 0]
    assert torch.allclose(first[:3], raw[:3] + torch.tensor([8., 0., 0.]), atol=1e-5)
    assert torch.allclose(first[3:], raw[3:], atol=1e-5)
    x, y, z, *size, sine, cosine, vx, vy = first.tolist()
    # a quarter turn to the left: (x, y) -> (-y, x), sin(a + 90) = cos a, cos(a + 90) = -sin a
    assert torch.allclose(second, torch.tensor([-y, x, z, *size, cosine, -sine, -vy, vx]), atol=1e-5)
