import pytest
import torch

from scene_qformer.models import SingleLevelFPN


def test_fuses_top_down_by_hand():
    neck = SingleLevelFPN(in_channels=[1, 1], out_channels=1)
    with torch.no_grad():
        neck.lateral_convs[0].conv.weight.fill_(2)
        neck.lateral_convs[1].conv.weight.fill_(3)
        for conv in (*neck.lateral_convs, neck.out_conv):
            conv.conv.bias.zero_()
        neck.out_conv.conv.weight.zero_()
        neck.out_conv.conv.weight[..., 1, 1] = 1  # identity
    fine = torch.arange(6.).view(1, 1, 2, 3)
    coarse = torch.tensor([[[[10., 20.]]]])
    # nearest: columns 0, 1 of three come from coarse column 0, column 2 from column 1
    expected = 2 * fine + 3 * torch.tensor([[10., 10., 20.], [10., 10., 20.]])
    assert torch.equal(neck([fine, coarse])[0], expected)


def test_odd_sizes_and_every_parameter_gets_a_gradient():
    neck = SingleLevelFPN(in_channels=[5, 7], out_channels=3)
    out, = neck([torch.randn(2, 5, 21, 13), torch.randn(2, 7, 11, 7)])
    assert out.shape == (2, 3, 21, 13)
    out.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in neck.parameters())


def test_says_how_many_levels_it_wants():
    with pytest.raises(ValueError, match='built for 2 levels.*gives 1'):
        SingleLevelFPN(in_channels=[5, 7], out_channels=3)([torch.randn(1, 5, 3, 3)])
