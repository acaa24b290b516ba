"""16 queries among 23 objects: every query gets an object, no object two."""
import torch
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment
from test_scene_qformer import build, images, samples

from scene_qformer.models import SceneDetectionHead

NUM_QUERIES, NUM_OBJECTS = 16, 23


def crowded():
    crowd = samples()
    for index, sample in enumerate(crowd):
        boxes = torch.rand(NUM_OBJECTS, 9, generator=torch.Generator().manual_seed(index)) * 30 + 0.5
        objects = InstanceData(labels_3d=torch.arange(NUM_OBJECTS) % 3)
        objects.bboxes_3d = type(sample.gt_instances_3d.bboxes_3d)(boxes, box_dim=9)
        sample.gt_instances_3d = objects
    return crowd


def test_matching_is_the_cheapest_one_to_one():
    head = SceneDetectionHead(num_classes=3, embed_dims=8)
    target = head._targets(crowded()[0], torch.zeros(1))
    scores, codes = torch.randn(NUM_QUERIES, 3), torch.randn(NUM_QUERIES, 10)
    objects = head._match(scores, codes, target)
    assert (objects >= 0).all() and len(objects.unique()) == NUM_QUERIES
    predicted = InstanceData(scores=scores, bboxes=codes)
    wanted = InstanceData(labels=target.labels, bboxes=target.bboxes)
    cost = sum(match_cost(predicted, wanted) for match_cost in head.assigner.match_costs)
    rows, columns = linear_sum_assignment(cost)
    assert torch.isclose(cost[torch.arange(NUM_QUERIES), objects].sum(), cost[rows, columns].sum())


def test_losses_average_over_the_objects_that_have_a_query():
    head = SceneDetectionHead(num_classes=3, embed_dims=8)
    target = head._targets(crowded()[0], torch.zeros(1))
    codes = target.bboxes[:NUM_QUERIES] + torch.eye(10)[0] * 0.4  # each 0.4 m beside its object
    objects = torch.arange(NUM_QUERIES)[None]
    _, loss_bbox = head._layer_loss(torch.zeros(1, NUM_QUERIES, 3), codes[None], [target], objects)
    assert torch.isclose(loss_bbox, torch.tensor(0.25 * 0.4))


def test_model_trains_and_predicts():
    model = build(scene_queries=dict(type='SceneQueries', num_queries=NUM_QUERIES, embed_dims=12))
    losses = model.train()(dict(imgs=images()), crowded(), mode='loss')
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert model.scene_queries.query_embedding.weight.grad.abs().sum(1).gt(0).all()
    with torch.no_grad():
        assert model.eval()(images()).shape == (2, NUM_QUERIES, 19)
        predicted = model(dict(imgs=images()), crowded(), mode='predict')[0].pred_instances_3d
    assert len(predicted) == NUM_QUERIES * 3
