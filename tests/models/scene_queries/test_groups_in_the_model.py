"""Groups from the queries through the decoder to heads, denoising and tokens."""
import pytest
import torch
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from test_scene_qformer import build, images, samples

GROUPS = dict(
    type='GroupedSceneQueries',
    embed_dims=12,
    groups=dict(det=dict(num_queries=3), objects=dict(num_queries=5), ego=dict(num_queries=1)),
    blind=dict(objects=['det', 'ego']),
    token_groups=['det', 'ego'])
HEAD = dict(type='SceneDetectionHead', num_classes=3, embed_dims=12, query_group='objects')
DENOISING = dict(type='QueryDenoising', embed_dims=12, num_groups=2)


def test_head_learns_from_its_group_alone():
    model = build(scene_queries=GROUPS, bbox_head=HEAD).eval()
    losses = model(dict(imgs=images()), samples(), mode='loss')
    decoded = model.decode_queries(images())
    expected = model.bbox_head.loss(decoded.queries[:, :, 3:8], decoded.reference_points[:, :, 3:8], samples())
    assert losses.keys() == expected.keys()
    assert all(torch.allclose(losses[name], expected[name], atol=1e-6) for name in losses)
    sum(losses.values()).backward()
    groups = model.scene_queries.groups
    assert groups['objects'].query_embedding.weight.grad.abs().sum(1).gt(0).all()
    # what detection is blind to gets nothing from it; the language model trains it
    assert not groups['det'].query_embedding.weight.grad.any()


def test_head_predicts_from_its_group_alone():
    model = build(scene_queries=GROUPS, bbox_head=HEAD).eval()
    predicted = model(dict(imgs=images()), samples(), mode='predict')[1].pred_instances_3d
    assert len(predicted) == 5 * 3
    decoded = model.decode_queries(images())
    expected = model.bbox_head.predict(decoded.queries[:, :, 3:8], decoded.reference_points[:, :, 3:8],
                                       [sample.metainfo for sample in samples()])[1]
    assert torch.allclose(predicted.bboxes_3d.tensor, expected.bboxes_3d.tensor, atol=1e-5)


def test_without_a_group_the_head_takes_all_queries():
    model = build(scene_queries=GROUPS).eval()
    assert len(model(dict(imgs=images()), samples(), mode='predict')[0].pred_instances_3d) == 9 * 3


def test_token_groups_go_to_the_projector():
    model = build(scene_queries=GROUPS, bbox_head=HEAD).eval()
    decoded = model.decode_queries(images()).queries[-1]
    expected = model.projector(torch.cat((decoded[:, :3], decoded[:, 8:]), dim=1))
    assert torch.allclose(model(images()), expected, atol=1e-6) and expected.shape == (2, 4, 19)


@pytest.mark.parametrize('place', ['bbox_head', 'aux_heads'])
def test_head_on_a_group_that_does_not_exist_is_refused_at_build(place):
    lanes = dict(HEAD, query_group='lanes')
    head = dict(bbox_head=lanes) if place == 'bbox_head' else dict(aux_heads=dict(lanes=lanes))
    for queries in (GROUPS, dict(type='ResidualSceneQueries', embed_dims=12, queries=GROUPS)):
        with pytest.raises(ValueError, match="query_group='lanes', but the groups.*are 'det', 'objects', 'ego'"):
            build(scene_queries=queries, **head)
    with pytest.raises(ValueError, match="query_group='lanes'.*one unnamed set"):
        build(**head)


def test_groups_are_found_behind_a_residual():
    residual = dict(type='ResidualSceneQueries', embed_dims=12, queries=GROUPS)
    model = build(scene_queries=residual, bbox_head=HEAD).eval()
    assert len(model(dict(imgs=images()), samples(), mode='predict')[0].pred_instances_3d) == 5 * 3


@MODELS.register_module()
class MeanHead(BaseModule):
    """The least that a head must be."""

    def __init__(self, loss='loss_mean'):
        super().__init__()
        self.loss_name = loss

    def loss(self, queries, reference_points, batch_data_samples):
        return {self.loss_name: queries.mean() + reference_points.mean() + len(batch_data_samples)}


# Nothing passes between the two groups, so that each head's gradients must stay in its own.
TWO_HEADS = dict(
    scene_queries=dict(GROUPS, blind=dict(objects=['det', 'ego'], det=['objects', 'ego'])),
    bbox_head=HEAD,
    aux_heads=dict(near=dict(HEAD, query_group='det')))


@pytest.mark.parametrize(('prefix', 'own', 'other'), [('', 'objects', 'det'), ('near.', 'det', 'objects')])
def test_two_heads_train_each_its_own_group(prefix, own, other):
    model = build(**TWO_HEADS).train()
    losses = model(dict(imgs=images()), samples(), mode='loss')
    names = {f'{layer}{loss}' for layer in ('', 'd0.') for loss in ('loss_cls', 'loss_bbox')}
    assert set(losses) == names | {f'near.{name}' for name in names}
    sum(losses[prefix + name] for name in names).backward()
    groups = model.scene_queries.groups
    assert groups[own].query_embedding.weight.grad.abs().sum(1).gt(0).all()
    assert not groups[other].query_embedding.weight.grad.any()
    trained, silent = model.bbox_head, model.aux_heads['near']
    if prefix:
        trained, silent = silent, trained
    assert trained.cls_branch[-1].weight.grad.any()
    assert all(parameter.grad is None for parameter in silent.parameters())


def test_aux_head_is_given_its_group():
    model = build(**TWO_HEADS).eval()
    losses = model(dict(imgs=images()), samples(), mode='loss')
    decoded = model.decode_queries(images())
    expected = model.aux_heads['near'].loss(decoded.queries[:, :, :3], decoded.reference_points[:, :, :3], samples())
    assert all(torch.allclose(losses[f'near.{name}'], expected[name], atol=1e-6) for name in expected)


def test_predictions_are_of_bbox_head_alone():
    model = build(**TWO_HEADS).eval()
    before = model(dict(imgs=images()), samples(), mode='predict')[0].pred_instances_3d
    assert len(before) == 5 * 3
    for parameter in model.aux_heads.parameters():
        torch.nn.init.normal_(parameter)
    after = model(dict(imgs=images()), samples(), mode='predict')[0].pred_instances_3d
    assert torch.equal(before.scores_3d, after.scores_3d)


def test_denoising_answers_to_bbox_head_alone():
    losses = build(denoising=DENOISING, **TWO_HEADS).train()(dict(imgs=images()), samples(), mode='loss')
    kinds = ('loss_cls', 'loss_bbox')
    assert set(losses) == {f'{layer}{kind}{loss}' for layer in ('', 'd0.', 'near.', 'near.d0.')
                           for kind in (('', 'dn_') if 'near' not in layer else ('', )) for loss in kinds}


def test_without_aux_heads_nothing_is_added():
    names = set(build(scene_queries=GROUPS, bbox_head=HEAD).state_dict())
    assert not any('aux_heads' in name for name in names)
    more = set(build(scene_queries=GROUPS, bbox_head=HEAD, aux_heads=dict(near=HEAD)).state_dict())
    assert names < more and all(name.startswith('aux_heads.near.') for name in more - names)


def test_a_head_needs_no_query_group():
    """It is then handed all 9 queries."""
    model = build(scene_queries=GROUPS, bbox_head=HEAD, aux_heads=dict(mean=dict(type='MeanHead'))).eval()
    losses = model(dict(imgs=images()), samples(), mode='loss')
    decoded = model.decode_queries(images())
    expected = decoded.queries.mean() + decoded.reference_points.mean() + 2
    assert torch.allclose(losses['mean.loss_mean'], expected, atol=1e-5)
    losses = build(scene_queries=GROUPS, bbox_head=dict(type='MeanHead'))(dict(imgs=images()), samples(), mode='loss')
    assert set(losses) == {'loss_mean'}


def test_aux_heads_without_bbox_head_are_refused():
    with pytest.raises(ValueError, match=r"give the head that predicts as bbox_head.*aux_heads are \['near'\]"):
        build(bbox_head=None, aux_heads=dict(near=dict(HEAD, query_group=None)))


def test_a_loss_name_that_is_taken_is_refused():
    model = build(aux_heads=dict(d0=dict(type='MeanHead', loss='loss_cls')))  # d0.loss_cls is bbox_head's first layer
    with pytest.raises(ValueError, match="aux_heads has 'd0', whose loss 'd0.loss_cls' has the name of.*another name"):
        model(dict(imgs=images()), samples(), mode='loss')


def test_denoising_stands_for_the_group_of_the_head():
    """No learned query sees the denoising ones, and these see the head's group and not the carriers."""
    model = build(scene_queries=GROUPS, bbox_head=HEAD, denoising=DENOISING).eval()
    plain = model.decode_queries(images()).queries
    denoising = model.denoising([torch.rand(3, 3), torch.rand(2, 3)])
    joint = model.decode_queries(images(), denoising=denoising).queries
    assert torch.allclose(joint[:, :, 6:], plain, atol=1e-5)
    for group, reached in (('det', False), ('objects', True)):
        torch.nn.init.normal_(model.scene_queries.groups[group].query_embedding.weight)
        changed = model.decode_queries(images(), denoising=denoising).queries
        assert torch.allclose(changed[:, :, :6], joint[:, :, :6], atol=1e-5) != reached
        joint = changed


def test_denoising_losses_beside_those_of_the_group():
    model = build(scene_queries=GROUPS, bbox_head=HEAD, denoising=DENOISING).train()
    losses = model(dict(imgs=images()), samples(), mode='loss')
    assert set(losses) == {f'{layer}{kind}{loss}' for layer in ('', 'd0.') for kind in ('', 'dn_')
                           for loss in ('loss_cls', 'loss_bbox')}
