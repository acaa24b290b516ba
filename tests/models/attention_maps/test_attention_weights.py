"""The weights of every class, times the projected values, are what the module itself reads."""
import pytest
import torch
from mmcv.cnn.bricks.transformer import MultiheadAttention
from mmcv.ops import MultiScaleDeformableAttention
from torch import nn

from scene_qformer.models import GlobalAttention, SurroundDeformableAttention
from scene_qformer.models.attention_maps import attention_weights
from scene_qformer.models.attention_maps.deformable import splat_samples
from scene_qformer.models.blip2_decoder import BertAttention

SHAPES = [(5, 7), (3, 4)]  # of each of 3 cameras
NUM_KEYS, QUERIES, CHANNELS, HEADS = 3 * (35 + 12), 11, 6, 2


def looking(yaw):
    """lidar2img of a camera at the origin that looks along angle ``yaw``, 28x20 pixels, 53 degrees wide."""
    yaw = torch.tensor(yaw)
    zero, one = torch.zeros(()), torch.ones(())
    lidar2cam = torch.stack([torch.stack([yaw.sin(), -yaw.cos(), zero, zero]), torch.stack([zero, zero, -one, zero]),
                             torch.stack([yaw.cos(), yaw.sin(), zero, zero]), torch.stack([zero, zero, zero, one])])
    return torch.tensor([[28., 0, 14, 0], [0, 28., 10, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) @ lidar2cam


def inputs(batch_first=True, reference_points=None):
    key, key_pos = torch.randn(2, NUM_KEYS, CHANNELS), torch.randn(2, NUM_KEYS, CHANNELS)
    shapes = torch.tensor(SHAPES * 3)
    data = dict(
        query=torch.randn(2, QUERIES, CHANNELS),
        query_pos=torch.randn(2, QUERIES, CHANNELS),
        key=key,
        key_pos=key_pos,
        value=key + key_pos)
    if not batch_first:
        data = {name: tensor.transpose(0, 1) for name, tensor in data.items()}
    if reference_points is None:
        reference_points = torch.rand(2, QUERIES, 3)
    return dict(
        **data,
        reference_points=reference_points,
        spatial_shapes=shapes,
        level_start_index=shapes.prod(-1).cumsum(0) - shapes.prod(-1),
        key_padding_mask=torch.arange(NUM_KEYS).expand(2, -1) % 13 == torch.tensor([[5], [7]]),
        cameras=dict(
            lidar2img=torch.stack([looking(0.), looking(0.5), looking(2.5)]).expand(2, 3, 4, 4),
            image_size=torch.tensor([28., 20.])))


def scatter(module):
    """Weights with which every query, head and point looks elsewhere, partly outside of the images."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.7)
    return module.eval()


def read(weights, values):
    """``(B, heads, Q, K)`` weights times ``(B, K, C)`` projected values, head by head: ``(B, Q, C)``."""
    values = values.unflatten(-1, (HEADS, -1)).transpose(1, 2)  # (B, heads, K, C / heads)
    return (weights @ values).transpose(1, 2).flatten(2)


def passthrough(projection):
    """Make the output projection show what goes into it."""
    nn.init.eye_(projection.weight)
    nn.init.zeros_(projection.bias)


@pytest.mark.parametrize('build', [
    lambda: GlobalAttention(CHANNELS, HEADS),
    lambda: MultiheadAttention(CHANNELS, HEADS, batch_first=True),
    lambda: MultiheadAttention(CHANNELS, HEADS),
])
def test_attention_to_every_key(build):
    module = scatter(build())
    passthrough(module.attn.out_proj)
    batch_first = getattr(module, 'batch_first', True)
    data = inputs(batch_first)
    attended = module(**data) - data['query']
    _, _, weight = module.attn.in_proj_weight.chunk(3)
    values = nn.functional.linear(data['value'], weight, module.attn.in_proj_bias.chunk(3)[2])
    if not batch_first:
        attended, values = attended.transpose(0, 1), values.transpose(0, 1)
    weights = attention_weights(module, data, torch.arange(QUERIES))
    assert torch.allclose(weights.sum(-1), torch.ones(2, HEADS, QUERIES))
    assert (weights[data['key_padding_mask'][:, None, None].expand_as(weights)] == 0).all()
    assert torch.allclose(read(weights, values), attended, atol=1e-5)


def test_attention_of_bert():
    module = scatter(BertAttention(CHANNELS, 5, HEADS, attn_drop=0., drop=0.))
    memory = torch.randn(2, NUM_KEYS, 5)
    data = dict(inputs(), key=memory, value=memory)
    weights = attention_weights(module, data, torch.arange(QUERIES))
    attended = read(weights, module.attention['value'](memory))
    assert torch.allclose(module.output(attended, data['query']), module(**data), atol=1e-5)


@pytest.mark.parametrize('mask_dims', [2, 3])
def test_masked_attention_to_every_key(mask_dims):
    module = scatter(GlobalAttention(CHANNELS, HEADS))
    passthrough(module.attn.out_proj)
    mask = torch.rand(QUERIES, NUM_KEYS) < 0.4 if mask_dims == 2 else torch.rand(2 * HEADS, QUERIES, NUM_KEYS) < 0.4
    data = dict(inputs(), attn_mask=mask)
    values = nn.functional.linear(data['value'], module.attn.in_proj_weight.chunk(3)[2],
                                  module.attn.in_proj_bias.chunk(3)[2])
    some = torch.tensor([7, 2])
    weights = attention_weights(module, data, some)
    assert torch.allclose(read(weights, values), (module(**data) - data['query'])[:, some], atol=1e-5)


@pytest.mark.parametrize('batch_first', [True, False])
@pytest.mark.parametrize('numbers', [2, 4])  # a point or a box for each level
def test_deformable_attention_of_mmcv(batch_first, numbers):
    module = scatter(MultiScaleDeformableAttention(
        CHANNELS, HEADS, num_levels=6, num_points=3, dropout=0., batch_first=batch_first))
    passthrough(module.output_proj)
    data = inputs(batch_first, torch.rand(2, QUERIES, 6, numbers) * 1.2 - 0.1)
    attended, values = module(**data) - data['query'], module.value_proj(data['value'])
    if not batch_first:
        attended, values = attended.transpose(0, 1), values.transpose(0, 1)
    weights = attention_weights(module, data, torch.arange(QUERIES))
    assert (weights.sum(-1) < 0.9).any() and (weights.sum(-1) <= 1 + 1e-5).all()  # some looked outside
    assert torch.allclose(read(weights, values), attended, atol=1e-5)


def test_surround_deformable_attention():
    module = scatter(SurroundDeformableAttention(
        CHANNELS, HEADS, num_levels=2, num_points=3, point_cloud_range=(-8., -8., -2., 8., 8., 2.)))
    passthrough(module.output_proj)
    data = inputs(reference_points=torch.rand(2, QUERIES, 3) * torch.tensor([1., 1., .2]) + torch.tensor([0., 0., .4]))
    cameras = data['cameras']
    seen = module.project_reference_points(data['reference_points'], cameras['lidar2img'], cameras['image_size'])[1]
    assert set(seen.sum(1).unique().tolist()) == {0, 1, 2}  # cameras that see a point
    weights = attention_weights(module, data, torch.arange(QUERIES))
    assert torch.allclose(read(weights, module.value_proj(data['value'])), module(**data) - data['query'], atol=1e-5)
    assert (weights.sum((1, 3))[seen.sum(1) == 0] == 0).all()
    unseen = ~seen.repeat_interleave(sum(h * w for h, w in SHAPES), dim=1).transpose(1, 2)  # (B, Q, K)
    assert (weights.transpose(1, 2)[unseen[:, :, None].expand(-1, -1, HEADS, -1)] == 0).all()


def test_splat_by_hand():
    # 2 rows, 3 columns. In cells from the first centre: (0.25, 1), and (-0.5, 0), of which half is outside.
    locations = torch.tensor([[0.75 / 3, 1.5 / 2], [0., 0.5 / 2]]).view(1, 1, 1, 1, 2, 2)
    cells = splat_samples(locations, torch.tensor([0.8, 0.2]).view(1, 1, 1, 1, 2), torch.tensor([[2, 3]]))
    assert torch.allclose(cells.flatten(), torch.tensor([0.1, 0., 0., 0.6, 0.2, 0.]))


def test_dropout_takes_no_part_and_stays_on():
    module = GlobalAttention(CHANNELS, HEADS, attn_drop=0.5).train()
    weights = attention_weights(module, inputs(), torch.arange(3))
    assert torch.allclose(weights.sum(-1), torch.ones(2, HEADS, 3))
    assert module.attn.training


def test_own_classes():
    class MyAttention(GlobalAttention):
        """A subclass has the weights of its parent."""

    class Other(nn.Module):
        pass

    data = inputs()
    assert attention_weights(MyAttention(CHANNELS, HEADS), data, torch.arange(2)).shape == (2, HEADS, 2, NUM_KEYS)
    with pytest.raises(NotImplementedError, match=r'no attention weights for Other, only for BertAttention, '
                       r'.*attention_weights.register\(Other\)'):
        attention_weights(Other(), data, torch.arange(2))
    attention_weights.register(Other)(lambda module, inputs, queries: torch.ones(2, 1, len(queries), NUM_KEYS))
    assert attention_weights(Other(), data, torch.arange(2)).shape == (2, 1, 2, NUM_KEYS)
