import pytest
import torch
from mmdet3d.registry import MODELS
from mmengine.config import Config
from mmengine.model import BaseModule

from scene_qformer.models import GroupedSceneQueries, QuerySet, SceneQueries, SceneQueryDecoder


def features(batch_size=2):
    return [torch.zeros(batch_size, 3, 4, 2, 5)]


def build(**kwargs):
    arguments = dict(groups=dict(det=dict(num_queries=2), ego=dict(num_queries=1), map=dict(num_queries=3)),
                     embed_dims=4)
    queries = GroupedSceneQueries(**{**arguments, **kwargs})
    queries.init_weights()
    return queries


@MODELS.register_module()
class PairWithLoss(BaseModule):
    """Two queries that do not see each other, and a loss."""
    num_queries = 2

    def __init__(self, embed_dims, weight):
        super().__init__()
        self.weight = weight

    def forward(self, img_feats, cameras):
        return QuerySet(img_feats[0].new_ones(2, 2, 4), torch.ones(2, 2, 3), ~torch.eye(2, dtype=torch.bool),
                        proposals=self.weight)

    def loss(self, query_set, cameras, batch_data_samples):
        return dict(loss_pair=torch.tensor(query_set.proposals * len(batch_data_samples)))


def test_groups_lie_one_after_another():
    queries = build()
    query_set = queries(features(), {})
    assert query_set.groups == dict(det=slice(0, 2), ego=slice(2, 3), map=slice(3, 6))
    assert query_set.query.shape == (2, 6, 4) and query_set.reference_points.shape == (2, 6, 3)
    assert torch.equal(query_set.query[1, 3:], queries.groups['map'].query_embedding.weight)
    assert torch.equal(query_set.reference_points[0, 2:3], queries.groups['ego'].reference_points.weight)
    assert query_set.attn_mask is None and query_set.token_groups is None
    assert (queries.num_queries, queries.num_tokens) == (6, 6)


def test_each_group_is_initialised_as_its_kind_is():
    points = build(groups=dict(a=dict(num_queries=64), b=dict(num_queries=64))).groups['b'].reference_points.weight
    assert (points[:, 2] == 0.5).all()
    quarters = (points[:, 0] >= 0.5).int() * 2 + (points[:, 1] >= 0.5).int()
    assert quarters.bincount(minlength=4).tolist() == [16] * 4


def test_groups_start_at_different_points_of_one_sequence():
    """Also where the learned queries stand within other kinds."""
    residual = dict(type='ResidualSceneQueries', queries=dict(type='SceneQueries', num_queries=5))
    queries = build(groups=dict(a=dict(num_queries=3), b=residual, c=dict(num_queries=7, concentration=2.)))
    alone = SceneQueries(15, 4)
    alone.init_weights()
    points = queries(features(), {}).reference_points[0]
    assert torch.equal(points[:8], alone.reference_points.weight[:8])
    even = alone.reference_points.weight[8:] * 2 - 1
    assert torch.allclose(points[8:] * 2 - 1, even.sign() * even**2, atol=1e-6)
    assert len(points.unique(dim=0)) == 15


@pytest.mark.parametrize('inner', [
    dict(type='GroupedSceneQueries', groups=dict(x=dict(num_queries=2))),
    dict(type='ResidualSceneQueries',
         queries=dict(type='GroupedSceneQueries', groups=dict(x=dict(num_queries=2)), token_groups=['x']))])
def test_groups_in_groups_are_refused(inner):
    with pytest.raises(ValueError, match="Group 'b' holds groups itself.*side by side into one GroupedSceneQueries"):
        build(groups=dict(a=dict(num_queries=1), b=inner))


def test_mask_as_drawn_in_the_docstring():
    queries = build(groups=dict(a=dict(num_queries=1), b=dict(num_queries=2)), blind=dict(b=['a']))
    x, o = True, False
    assert queries(features(), {}).attn_mask.tolist() == [[o, o, o], [x, o, o], [x, o, o]]


def test_masks_of_the_groups_themselves_are_kept():
    queries = build(groups=dict(a=dict(num_queries=1), b=dict(type='PairWithLoss', weight=1.)), blind=dict(b=['a']))
    x, o = True, False
    assert queries(features(), {}).attn_mask.tolist() == [[o, o, o], [x, o, x], [x, x, o]]


def test_losses_of_the_groups_by_name():
    queries = build(groups=dict(a=dict(type='PairWithLoss', weight=1.5), b=dict(num_queries=1),
                                c=dict(type='PairWithLoss', weight=2.)))
    losses = queries.loss(queries(features(), {}), {}, [None] * 3)
    assert {name: loss.item() for name, loss in losses.items()} == {'a.loss_pair': 4.5, 'c.loss_pair': 6.}


def test_what_a_group_is_blind_to_does_not_reach_it_in_any_layer():
    """Carriers c see perception queries p; p are blind to c."""
    queries = build(groups=dict(c=dict(num_queries=2), p=dict(num_queries=3)), blind=dict(p=['c']))
    attention = dict(type='GlobalAttention', num_heads=2)
    decoder = SceneQueryDecoder(3, 4, attention, attention, 5, ffn_drop=0.).eval()
    memory = torch.randn(2, 7, 4)

    def decode():
        query_set = queries(features(), {})
        return decoder(query_set.query, query_set.reference_points, memory, memory, torch.zeros_like(memory),
                       torch.tensor([[1, 7]]), torch.tensor([0]), attn_mask=query_set.attn_mask)[0]

    before = decode()
    torch.nn.init.normal_(queries.groups['c'].query_embedding.weight)
    after = decode()
    assert torch.allclose(after[:, :, 2:], before[:, :, 2:], atol=1e-6)
    assert not torch.allclose(after[:, :, :2], before[:, :, :2], atol=1e-2)
    torch.nn.init.normal_(queries.groups['p'].query_embedding.weight)
    assert not torch.allclose(decode()[:, :, :2], after[:, :, :2], atol=1e-3)


def test_layout_of_omnidrive_and_orion():
    config = 'configs/scene_qformer/scene-qformer_r50_orion-groups_8xb4-24e_nus-336.py'
    queries = MODELS.build(Config.fromfile(config).model.scene_queries)
    assert (queries.num_queries, queries.num_tokens) == (1113, 513)
    feats = [torch.zeros(1, 6, 256, 1, 1)]
    query_set = queries(feats, {})
    assert query_set.tokens(torch.arange(1113)[None]).tolist() == [list(range(513))]
    mask = query_set.attn_mask
    assert not mask[:513].any()  # carriers see carriers and perception queries
    assert mask[513:, :513].all() and not mask[513:, 513:].any()  # perception queries see each other only


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(groups={}), 'at least one group'),
    (dict(token_groups=[]), r'token_groups=\(\) leaves no scene token. Name .* or leave token_groups=None'),
    (dict(blind=dict(objects=['det'])), "blind names 'objects', but the groups are 'det', 'ego', 'map'"),
    (dict(blind=dict(det=['ego', 'lanes'])), "blind names 'lanes', but the groups are 'det', 'ego', 'map'"),
    (dict(blind=dict(ego=['det', 'ego'])), "Group 'ego' is to be blind to itself"),
    (dict(token_groups=['det', 'lanes']), "token_groups names 'lanes', but the groups are 'det', 'ego', 'map'"),
])
def test_names_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**arguments)
