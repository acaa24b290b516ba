import torch
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import nn

from scene_qformer.models import QuerySet, ResidualSceneQueries

GROUPED = dict(type='GroupedSceneQueries', groups=dict(a=dict(num_queries=2), b=dict(num_queries=3)),
               blind=dict(a=['b']), token_groups=['b'])


def build(queries, embed_dims=2):
    wrapped = ResidualSceneQueries(queries, embed_dims=embed_dims)
    wrapped.init_weights()
    return wrapped


def test_starts_as_the_wrapped_queries():
    wrapped, feats = build(GROUPED), [torch.randn(2, 3, 2, 4, 5)]
    assert (wrapped.num_queries, wrapped.num_tokens) == (5, 3)
    inner, outer = wrapped.queries(feats, {}), wrapped(feats, {})
    assert torch.equal(outer.query, inner.query)
    assert outer.groups == inner.groups and outer.token_groups == ('b', )
    assert torch.equal(outer.attn_mask, inner.attn_mask)


def test_adds_the_mean_of_all_cameras_through_the_gate():
    wrapped = build(dict(type='SceneQueries', num_queries=3))
    wrapped.feature_norm = nn.Identity()
    with torch.no_grad():
        wrapped.feature_proj.weight.copy_(torch.tensor([[0., 1.], [2., 0.]]))
        wrapped.feature_proj.bias.fill_(0.)
        wrapped.gate.fill_(0.5)
    feat = torch.zeros(1, 2, 2, 1, 2)
    feat[0, :, 0, 0] = torch.tensor([[1., 2.], [3., 6.]])  # mean 3; channel 1 has mean 1
    feat[0, 0, 1, 0] = torch.tensor([1., 3.])
    residual = wrapped([torch.full((1, 2, 2, 2, 4), 9.), feat], {}).query - wrapped.queries([feat], {}).query
    assert torch.allclose(residual, torch.tensor([1., 6.]) * torch.tensor(0.5).tanh(), atol=1e-6)


def test_gate_gets_a_gradient_at_once_and_the_rest_when_it_has_opened():
    wrapped, feats = build(dict(type='SceneQueries', num_queries=3), 6), [torch.randn(2, 3, 6, 4, 5)]
    wrapped(feats, {}).query.square().sum().backward()
    assert wrapped.gate.grad.abs() > 0 and not wrapped.feature_proj.weight.grad.any()
    with torch.no_grad():
        wrapped.gate.fill_(0.1)
    wrapped(feats, {}).query.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in
               (*wrapped.feature_proj.parameters(), *wrapped.feature_norm.parameters()))


@MODELS.register_module()
class QueriesWithLoss(BaseModule):
    num_queries = 1

    def __init__(self, embed_dims):
        super().__init__()

    def forward(self, img_feats, cameras):
        return QuerySet(torch.zeros(1, 1, 2), torch.zeros(1, 1, 3), proposals=3.)

    def loss(self, query_set, cameras, batch_data_samples):
        return dict(loss_own=query_set.proposals)


def test_losses_of_the_wrapped_queries():
    wrapped = build(dict(type='QueriesWithLoss'))
    assert wrapped.loss(wrapped([torch.zeros(1, 1, 2, 1, 1)], {}), {}, []) == dict(loss_own=3.)
