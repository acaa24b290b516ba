import math

import pytest
import torch
from mmdet3d.registry import MODELS

from scene_qformer.models import PolarTokenPosition
from tests.models.test_scene_qformer import build, images, samples

RANGE = (-30., -40., -3., 30., 40., 5.)  # corners 50 metres from the middle


def encode(*metres):
    """What is written beside a query at a point (x, y, z)."""
    low, high = torch.tensor(RANGE).split(3)
    return PolarTokenPosition(RANGE).encode((torch.tensor([[metres]]) - low) / (high - low))[0, 0]


def test_numbers_by_hand():
    # 20 m ahead of the vehicle, one metre above the middle of the range: azimuth 90 degrees, 0.4 of the range
    code = encode(0., 20., 2.)
    assert code.shape == (32, ) == (PolarTokenPosition.channels, )
    expected = [0, 20 / 50, 1 / 50, 0.4, 0, -1, 0, 1, 0, -1, 0, 1, 1, 0, -1, 0, 1, 0, -1, 0]
    torch.testing.assert_close(code[:20], torch.tensor(expected), atol=1e-5, rtol=0)
    angles = [0.4 * math.pi * octave for octave in (1, 2, 4, 8, 16, 32)]
    torch.testing.assert_close(code[20:26], torch.tensor([math.sin(angle) for angle in angles]), atol=1e-4, rtol=0)
    torch.testing.assert_close(code[26:], torch.tensor([math.cos(angle) for angle in angles]), atol=1e-4, rtol=0)


def test_distance_and_direction_stand_apart():
    near, far, beside = encode(3., 4., 1.), encode(9., 12., 1.), encode(4., -3., 1.)
    torch.testing.assert_close(near[4:20], far[4:20], atol=1e-4, rtol=0)
    torch.testing.assert_close(near[20:], beside[20:], atol=1e-4, rtol=0)
    assert (near[20:] - far[20:]).abs().max() > 0.5 and (near[4:20] - beside[4:20]).abs().max() > 0.5


def test_the_middle_is_finite_and_no_gradient_goes_to_the_points():
    points = torch.full((1, 1, 3), 0.5, requires_grad=True)
    queries = torch.ones(1, 1, 5, requires_grad=True)
    located = PolarTokenPosition()(queries, points)
    assert located.shape == (1, 1, 37) and located.isfinite().all()
    located.sum().backward()
    assert points.grad is None and (queries.grad == 1).all()


def test_half_precision_stays_what_it_is():
    located = PolarTokenPosition()(torch.zeros(1, 3, 5, dtype=torch.bfloat16), torch.rand(1, 3, 3))
    assert located.dtype == torch.bfloat16
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert PolarTokenPosition().encode(torch.rand(1, 3, 3)).dtype == torch.float32


@pytest.mark.parametrize('denoising', [None, dict(type='QueryDenoising', embed_dims=12)])
def test_tokens_know_where_their_queries_ended(denoising):
    model = build(token_position=dict(type='PolarTokenPosition'), denoising=denoising,
                  projector=dict(type='IdentityProjector', in_channels=44))
    noisy = model.denoising([sample.gt_instances_3d.bboxes_3d.gravity_center for sample in samples()]) \
        if denoising else None
    decoded = model.decode_queries(images(), None, noisy)
    located = model.token_queries(decoded)
    assert located.shape == (2, 7, 44)
    assert decoded.queries.shape[2] == 7 + (noisy.query.shape[1] if noisy else 0)
    torch.testing.assert_close(located[..., :12], decoded.queries[-1][:, -7:])
    torch.testing.assert_close(located[..., 12:], model.token_position.encode(decoded.reference_points[-1][:, -7:]))


def test_another_range_than_the_heads_is_refused():
    with pytest.raises(ValueError, match='token_position: .-30.0'):
        build(token_position=dict(type='PolarTokenPosition', point_cloud_range=RANGE),
              projector=dict(type='IdentityProjector', in_channels=44))


def test_a_projector_of_another_width_is_refused_at_once():
    with pytest.raises(ValueError, match='12 channels of the decoder and 32 of the position: .*in_channels=44, not 12'):
        build(token_position=dict(type='PolarTokenPosition'))
    for wrong in (RANGE[:4], (0., 0., 0., 0., 1., 1.)):
        with pytest.raises(ValueError, match='needs point_cloud_range'):
            PolarTokenPosition(wrong)


def test_groups_that_become_tokens_take_their_points_along():
    queries = dict(type='GroupedSceneQueries', embed_dims=12, token_groups=['b'],
                   groups=dict(a=dict(type='SceneQueries', num_queries=3), b=dict(type='SceneQueries', num_queries=5)))
    model = build(scene_queries=queries, projector=None, token_position=dict(type='PolarTokenPosition')).eval()
    decoded = model.decode_queries(images())
    located = model.token_queries(decoded)
    torch.testing.assert_close(located[..., 12:], model.token_position.encode(decoded.reference_points[-1][:, 3:]))


def test_it_is_registered():
    assert isinstance(MODELS.build(dict(type='PolarTokenPosition')), PolarTokenPosition)
