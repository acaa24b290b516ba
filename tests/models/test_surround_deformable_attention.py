import pytest
import torch
from mmdet3d.registry import MODELS

from scene_qformer.models import (
    DefaultSampling,
    MMCVSampling,
    ReferenceSampling,
    SurroundDeformableAttention,
    TritonSampling,
    VectorizedSampling,
)

RANGE = (-8., -8., -2., 8., 8., 2.)
SHAPES = [(5, 7), (3, 4)]
IMAGE_SIZE = torch.tensor([28., 20.])  # width, height


def looking(yaw):
    """lidar2img of a camera at the origin that looks along angle ``yaw`` of the ground plane, 53 degrees wide."""
    yaw = torch.tensor(yaw)
    zero, one = torch.zeros(()), torch.ones(())
    lidar2cam = torch.stack([
        torch.stack([yaw.sin(), -yaw.cos(), zero, zero]),  # x right
        torch.stack([zero, zero, -one, zero]),  # y down
        torch.stack([yaw.cos(), yaw.sin(), zero, zero]),  # z forward
        torch.stack([zero, zero, zero, one])
    ])
    cam2img = torch.tensor([[28., 0, 14, 0], [0, 28., 10, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    return cam2img @ lidar2cam


@pytest.fixture
def attention():
    torch.manual_seed(0)
    attention = SurroundDeformableAttention(
        embed_dims=6, num_heads=2, num_levels=2, num_points=3, point_cloud_range=RANGE)
    for layer in (attention.sampling_offsets, attention.attention_weights):
        torch.nn.init.normal_(layer.weight, std=0.3)
    return attention


def inputs(num_queries=11):
    generator = torch.Generator().manual_seed(1)
    num_keys = 3 * sum(height * width for height, width in SHAPES)
    shapes = torch.tensor(SHAPES * 3)
    sizes = shapes.prod(-1)
    return dict(
        query=torch.randn(2, num_queries, 6, generator=generator),
        query_pos=torch.randn(2, num_queries, 6, generator=generator),
        value=torch.randn(2, num_keys, 6, generator=generator),
        reference_points=torch.rand(2, num_queries, 3, generator=generator) * torch.tensor([1., 1., .2])
        + torch.tensor([0., 0., .4]),
        spatial_shapes=shapes,
        level_start_index=sizes.cumsum(0) - sizes,
        cameras=dict(
            # the first two overlap
            lidar2img=torch.stack([looking(0.), looking(0.5), looking(2.5)]).expand(2, 3, 4, 4),
            image_size=IMAGE_SIZE))


def loop_twin(module, query, query_pos, value, reference_points, spatial_shapes, level_start_index, cameras):
    """The same, one query, camera, head, level and point at a time."""
    low, high = torch.tensor(RANGE).split(3)
    rows = []
    for batch in range(len(query)):
        for index in range(query.shape[1]):
            state = query[batch, index] + query_pos[batch, index]
            offsets = module.sampling_offsets(state).view(2, 2, 3, 2)  # heads, levels, points
            weights = module.attention_weights(state).view(2, 6).softmax(-1).view(2, 2, 3)
            point = torch.cat((low + reference_points[batch, index] * (high - low), torch.ones(1)))
            seen = []
            for camera in range(3):
                u, v, depth = (cameras['lidar2img'][batch, camera] @ point)[:3]
                if depth <= 1e-5 or not (0 <= u / depth < 28 and 0 <= v / depth < 20):
                    continue
                heads = [torch.zeros(3), torch.zeros(3)]
                for level, (height, width) in enumerate(SHAPES):
                    start = level_start_index[camera * 2 + level]
                    cells = module.value_proj(value[batch, start:start + height * width]).view(height, width, 2, 3)
                    for head in range(2):
                        for sample in range(3):
                            column = u / depth / 28 * width + offsets[head, level, sample, 0] - 0.5
                            row = v / depth / 20 * height + offsets[head, level, sample, 1] - 0.5
                            heads[head] = heads[head] + weights[head, level, sample] * bilinear(
                                cells[:, :, head], row, column)
                seen.append(torch.cat(heads))
            mean = sum(seen) / len(seen) if seen else torch.zeros(6)
            rows.append(query[batch, index] + module.output_proj(mean))
    return torch.stack(rows).view_as(query)


def bilinear(cells, row, column):
    """Interpolate cells (H, W, C) at a place counted from the centre of cell (0, 0); zero outside."""
    total = torch.zeros(cells.shape[-1])
    for i in (int(row.floor()), int(row.floor()) + 1):
        for j in (int(column.floor()), int(column.floor()) + 1):
            if 0 <= i < cells.shape[0] and 0 <= j < cells.shape[1]:
                total = total + (1 - (row - i).abs()) * (1 - (column - j).abs()) * cells[i, j]
    return total


@pytest.mark.parametrize('operator', ['DefaultSampling', 'MMCVSampling', 'VectorizedSampling', 'ReferenceSampling'])
@pytest.mark.parametrize('reach', [1, 4])
def test_equals_the_loops_forward_and_backward(attention, reach, operator):
    """Two levels; with the longer reach, most points lie outside of the images, some with a corner inside."""
    attention.operator = MODELS.build(dict(type=operator))
    with torch.no_grad():
        attention.sampling_offsets.bias.mul_(reach)
        attention.sampling_offsets.weight.mul_(reach)
    results = []
    for function in (attention, lambda **kwargs: loop_twin(attention, **kwargs)):
        attention.zero_grad()
        data = inputs()
        leaves = [data['query'].requires_grad_(), data['value'].requires_grad_(),
                  data['reference_points'].requires_grad_()]
        out = function(**data)
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        results.append([out] + [leaf.grad for leaf in leaves] + [p.grad.clone() for p in attention.parameters()])
    for ours, twin in zip(*results):
        assert torch.allclose(ours, twin, atol=1e-5)
    visible = attention.project_reference_points(inputs()['reference_points'], inputs()['cameras']['lidar2img'],
                                                 IMAGE_SIZE)[1].sum(1)
    assert {0, 1, 2} <= set(visible.flatten().tolist())  # the case is a real one: unseen, seen once, seen twice
    assert 0.02 < results[0][2].ne(0).float().mean() < 0.9  # some cells are looked at, some are not


def test_no_camera_sees_anything(attention):
    data = inputs()
    data['reference_points'] = torch.tensor([0.01, 0.3, 0.99]).expand(2, 11, 3)
    assert torch.allclose(attention(**data), data['query'] + attention.output_proj.bias)


def test_cameras_may_be_permuted_with_their_matrices(attention):
    data, order = inputs(), [2, 0, 1]
    permuted = dict(data)
    permuted['value'] = data['value'].unflatten(1, (3, -1))[:, order].flatten(1, 2)
    permuted['cameras'] = dict(lidar2img=data['cameras']['lidar2img'][:, order], image_size=IMAGE_SIZE)
    assert torch.allclose(attention(**data), attention(**permuted), atol=1e-6)


def test_masked_values_contribute_nothing(attention):
    data = inputs()
    mask = torch.zeros(2, data['value'].shape[1], dtype=torch.bool)
    mask[:, 40:] = True
    changed = {**data, 'value': data['value'].clone()}
    changed['value'][:, 40:] = 99.
    assert torch.equal(attention(**data, key_padding_mask=mask), attention(**changed, key_padding_mask=mask))


def test_samples_at_the_projection_by_hand():
    """One head, one point, no offset: the value at the projection itself."""
    attention = SurroundDeformableAttention(embed_dims=1, num_heads=1, num_points=1, point_cloud_range=RANGE)
    with torch.no_grad():
        for layer in (attention.value_proj, attention.output_proj):
            layer.weight.fill_(1.)
    # 4 m ahead, 0.5 m left, 0.5 m up: u = 14 - 28 * 0.5 / 4 = 10.5 px, v = 10 - 3.5 = 6.5 px of 28 x 20;
    # in cells of 4 px: column 2.625, row 1.625, from the centre of the first cell 2.125 and 1.125
    value = (torch.arange(5.)[:, None] * 10 + torch.arange(7.)).view(1, 35, 1)
    reference = torch.tensor([[[12 / 16, 8.5 / 16, 2.5 / 4]]])
    out = attention(
        torch.zeros(1, 1, 1), value, reference, torch.tensor([[5, 7]]), torch.tensor([0]),
        dict(lidar2img=looking(0.)[None, None], image_size=IMAGE_SIZE))
    assert out.item() == pytest.approx(11.25 + 2.125, abs=1e-4)


def test_says_what_it_needs(attention):
    data = inputs()
    with pytest.raises(ValueError, match='needs lidar2img.*PackSceneInputs'):
        attention(**{**data, 'cameras': dict(image_size=IMAGE_SIZE)})
    with pytest.raises(ValueError, match='num_levels=2 of each of 3 cameras, but the memory has 3.*set num_levels'):
        attention(**{**data, 'spatial_shapes': data['spatial_shapes'][:3]})
    with pytest.raises(ValueError, match=r'needs spatial_shapes.*got None.*flatten_memory'):
        attention(**{**data, 'spatial_shapes': None})


def test_projects_precisely_in_mixed_precision(attention):
    """bfloat16 has 8 bits: a projection computed in it would miss by pixels."""
    data = inputs()
    arguments = data['reference_points'], data['cameras']['lidar2img'], IMAGE_SIZE
    exact, _ = attention.project_reference_points(*arguments)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        mixed, _ = attention.project_reference_points(*arguments)
        out = attention(**data)
    assert torch.equal(exact, mixed)
    assert torch.allclose(out.float(), attention(**data), atol=0.1)


def test_samples_by_the_operator_that_is_named():
    """By default mmcv's on a GPU, and what is faster on a CPU."""
    attention = SurroundDeformableAttention(operator=dict(type='TritonSampling'))
    assert isinstance(attention.operator, TritonSampling)
    default = SurroundDeformableAttention().operator
    assert isinstance(default, DefaultSampling)
    assert isinstance(default.on_cpu, VectorizedSampling) and isinstance(default.elsewhere, MMCVSampling)
    assert attention.state_dict().keys() == SurroundDeformableAttention().state_dict().keys()


def test_reads_the_shapes_where_they_need_not_be_fetched(attention):
    """From the integers, if they are given: those of a tensor without data cannot be read."""
    attention.operator = ReferenceSampling()
    data = inputs()
    expected = attention(**data)
    data['spatial_shapes'] = data['spatial_shapes'].to('meta')
    assert torch.equal(attention(**data, level_shapes=tuple(SHAPES)), expected)
    with pytest.raises((RuntimeError, NotImplementedError)):
        attention(**data)


def test_nothing_depends_on_values(attention):
    """One graph from end to end: what the cameras see decides about no shape, so that no device is waited for."""
    attention.operator = ReferenceSampling()
    data = inputs()
    compiled = torch.compile(attention, fullgraph=True, backend='eager')
    assert torch.allclose(compiled(**data, level_shapes=tuple(SHAPES)), attention(**data), atol=1e-6)
