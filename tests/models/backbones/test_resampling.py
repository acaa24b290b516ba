"""A feature that says where its cell lies must say so after resampling."""
import pytest
import torch

from scene_qformer.models.backbones.resampling import pad_to_multiple, resample_to_stride


def centres(stride, rows, columns):
    """``(1, 2, rows, columns)``: x and y of every cell's centre in pixels."""
    y, x = torch.meshgrid((torch.arange(rows) + 0.5) * stride, (torch.arange(columns) + 0.5) * stride, indexing='ij')
    return torch.stack((x, y))[None]


def test_patch_14_at_336_becomes_21_by_21():
    feat = resample_to_stride(centres(14, 24, 24), 14, 16, (336, 336))
    assert feat.shape == (1, 2, 21, 21)
    assert torch.allclose(feat, centres(16, 21, 21), atol=1e-3)


def test_first_cell_by_hand():
    """Pixel 8 lies 1/14 of the way from the first centre, 7, to the second, 21."""
    feat = torch.zeros(1, 1, 24, 24)
    feat[..., 0, 0], feat[..., 0, 1], feat[..., 1, 0], feat[..., 1, 1] = 3., 5., 7., 11.
    top, bottom = 3 * 13 / 14 + 5 / 14, 7 * 13 / 14 + 11 / 14
    assert resample_to_stride(feat, 14, 16, (336, 336))[0, 0, 0, 0].item() == pytest.approx(top * 13 / 14 + bottom / 14)


def test_a_multiple_of_the_stride_is_an_average():
    feat = torch.arange(24.).view(1, 1, 4, 6)
    # mean of 0, 1, 6, 7 and so on
    assert resample_to_stride(feat, 8, 16, (32, 48)).tolist() == [[[[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]]]]
    assert resample_to_stride(feat, 8, 32, (32, 48))[0, 0, 0].tolist() == [10.5, 13.5]  # the last: of what is there


def test_far_coarser_averages_first_so_that_no_cell_goes_unread():
    feat = resample_to_stride(centres(14, 24, 24), 14, 32, (336, 336))
    assert feat.shape == (1, 2, 11, 11)
    expected = centres(32, 11, 11).clamp(max=322)  # the last averaged cell is centred at 336 - 14
    assert torch.allclose(feat, expected, atol=1e-3)
    feat = torch.rand(1, 1, 24, 24, requires_grad=True)
    resample_to_stride(feat, 14, 32, (336, 336)).sum().backward()
    assert (feat.grad[..., :-2, :-2] > 0).all()


def test_finer_is_bilinear():
    feat = resample_to_stride(centres(16, 3, 5), 16, 8, (48, 80))
    expected = centres(8, 6, 10)
    expected[:, 0].clamp_(8, 72)  # outside the first and the last centre: their features
    expected[:, 1].clamp_(8, 40)
    assert torch.allclose(feat, expected, atol=1e-3)


@pytest.mark.parametrize('stride', [4, 8, 14, 16, 32])
@pytest.mark.parametrize('out_stride', [8, 16, 32])
def test_ragged_sizes(stride, out_stride):
    """The map reaches beyond the image, as padding makes it; the cells keep their places all the same."""
    height, width = 149, 83
    padded = pad_to_multiple(torch.zeros(1, 3, height, width), stride).shape[-2:]
    cells = [length // stride for length in padded]
    feat = resample_to_stride(centres(stride, *cells), stride, out_stride, (height, width))
    wanted = centres(out_stride, -(-height // out_stride), -(-width // out_stride))
    assert feat.shape == wanted.shape
    factor = max(out_stride // stride, 1)
    for axis, length in ((0, cells[1]), (1, cells[0])):  # x, y, between the first and the last whole cell's centres
        first, last = factor * stride / 2, (length // factor - 0.5) * factor * stride
        inside = (wanted[:, axis] >= first) & (wanted[:, axis] <= last)
        assert inside.any()
        assert torch.allclose(feat[:, axis][inside], wanted[:, axis][inside], atol=1e-3)


def test_places_are_exact_in_bfloat16():
    feat = torch.zeros(1, 1, 24, 24, dtype=torch.bfloat16)
    feat[..., 23] = 1
    out = resample_to_stride(feat, 14, 16, (336, 336))
    # pixel 328 lies 13/14 of the way from the centre 315 to the last, 329
    assert out.dtype == torch.bfloat16
    assert out[0, 0, 0, 20].item() == pytest.approx(13 / 14, abs=2e-3)


def test_same_stride_is_left_alone():
    feat = torch.randn(2, 3, 5, 7)
    assert torch.equal(resample_to_stride(feat, 16, 16, (80, 112)), feat)


def test_padding_is_at_the_right_and_at_the_bottom():
    imgs = torch.ones(1, 3, 15, 28)
    padded = pad_to_multiple(imgs, 14)
    assert padded.shape == (1, 3, 28, 28)
    assert torch.equal(padded[..., :15, :], imgs)
    assert padded.sum() == imgs.sum()
