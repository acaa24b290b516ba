"""Groups from the queries through the decoder to heads, denoising and tokens."""
import pytest
import torch
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


@pytest.mark.parametrize('mode', ['loss', 'predict'])
def test_head_on_a_group_that_does_not_exist(mode):
    lanes = dict(HEAD, query_group='lanes')
    with pytest.raises(ValueError, match="query_group='lanes', but the groups.*are 'det', 'objects', 'ego'"):
        build(scene_queries=GROUPS, bbox_head=lanes)(dict(imgs=images()), samples(), mode=mode)
    with pytest.raises(ValueError, match="query_group='lanes'.*one unnamed set"):
        build(bbox_head=lanes)(dict(imgs=images()), samples(), mode=mode)


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
