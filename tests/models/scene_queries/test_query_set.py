import pytest
import torch

from scene_qformer.models import QuerySet


def query_set(**kwargs):
    return QuerySet(torch.zeros(2, 5, 3), torch.zeros(2, 5, 3), **kwargs)


GROUPS = dict(det=slice(0, 2), ego=slice(2, 3), map=slice(3, 5))


def test_group_is_a_range_of_queries():
    assert query_set(groups=GROUPS).group('ego') == slice(2, 3)
    assert query_set(groups=GROUPS).group(None) == query_set().group(None) == slice(0, 5)


def test_unknown_group_names_those_that_there_are():
    with pytest.raises(ValueError, match="query_group='lanes', but the groups of .* are 'det', 'ego', 'map'"):
        query_set(groups=GROUPS).group('lanes')
    with pytest.raises(ValueError, match="query_group='det'.*none: they are one unnamed set.*GroupedSceneQueries"):
        query_set().group('det')


def test_tokens_come_in_the_order_of_the_names():
    states = torch.arange(5.).expand(2, 5)[..., None]
    assert query_set(groups=GROUPS).tokens(states) is states
    tokens = query_set(groups=GROUPS, token_groups=('map', 'ego')).tokens(states)
    assert tokens.tolist() == [[[3.], [4.], [2.]]] * 2
