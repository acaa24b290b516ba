"""What is stated is checked, and what is not is left alone."""
import pytest

from scene_qformer.models.stated_sizes import check_stated_sizes


def test_what_is_right_or_not_stated_passes():
    check_stated_sizes(neck=None, projector=dict(hidden_channels=None, out_channels=1), decoder=dict(type='X'),
                       scene_queries=dict(embed_dims=64), aux_heads=dict(map=dict(num_classes=3)),
                       positional_encoding=dict(encodings=[dict(embed_dims=32), dict()]))
    check_stated_sizes(neck=dict(in_channels=[2, 3], out_channels=32), positional_encoding=dict(embed_dims=32))


@pytest.mark.parametrize('parts, named', [
    (dict(neck=dict(in_channels=[2, 0])), 'neck.in_channels .* got 0'),
    (dict(aux_heads=dict(map=dict(num_classes=-3))), 'aux_heads.map.num_classes .* got -3'),
    (dict(positional_encoding=dict(encodings=[dict(), dict(embed_dims='x')])),
     r"positional_encoding.encodings\[1\].embed_dims .* got 'x'"),
    (dict(neck=dict(out_channels=32), positional_encoding=dict(encodings=[dict(embed_dims=32), dict(
        type='RayEncoding', embed_dims=16)])), 'neck.out_channels is 32, but embed_dims of .* RayEncoding is 16')])
def test_a_nested_key_is_named(parts, named):
    with pytest.raises(ValueError, match=named):
        check_stated_sizes(**parts)
