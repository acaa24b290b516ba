import pytest
import torch

from scene_qformer.models.positional_encoding.feature_cells import cell_pixels, require_matrices, split_levels

FEATS = [torch.zeros(2, 3, 8, 5, 7), torch.zeros(2, 3, 8, 3, 2, dtype=torch.float16)]


def test_cells_lie_at_their_levels_own_strides_in_u_and_v():
    pixels = cell_pixels(FEATS, torch.tensor([56., 60.]))  # strides 8 and 12, then 28 and 20
    assert pixels.shape == (5 * 7 + 3 * 2, 2)
    assert pixels[0].tolist() == [4, 6]
    torch.testing.assert_close(pixels[1 * 7 + 3], torch.tensor([3.5 * 8, 1.5 * 12]))
    torch.testing.assert_close(pixels[35 + 2 * 2 + 1], torch.tensor([1.5 * 28, 2.5 * 20]))


def test_padding_moves_no_cell():
    """The image may be padded on the right and below: cells stay where they are in the image."""
    plain = cell_pixels([torch.zeros(1, 1, 1, 3, 5)], torch.tensor([80., 48.])).view(3, 5, 2)
    padded = cell_pixels([torch.zeros(1, 1, 1, 5, 7)], torch.tensor([112., 80.])).view(5, 7, 2)
    torch.testing.assert_close(padded[:3, :5], plain)


def test_levels_come_back_where_their_cells_were():
    codes = torch.arange(2 * 3 * 41 * 8.).view(2, 3, 41, 8)
    fine, coarse = split_levels(codes, FEATS)
    assert fine.shape == FEATS[0].shape and coarse.shape == FEATS[1].shape
    assert fine.dtype == torch.float32 and coarse.dtype == torch.float16
    assert torch.equal(fine[1, 2, :, 4, 3], codes[1, 2, 4 * 7 + 3])
    assert torch.equal(coarse[0, 1, :, 2, 1], codes[0, 1, 35 + 2 * 2 + 1].half())


def test_missing_metas_are_named():
    cameras = dict(image_size=torch.ones(2), lidar2img=torch.zeros(2, 3, 4, 4))
    with pytest.raises(ValueError, match=r'RayEncoding needs cam2img and lidar2cam \(B, N, 4, 4\) in the metas.*came: '
                                         r'lidar2img\. Use PackSceneInputs.*call the model with data_samples'):
        require_matrices('RayEncoding', ('cam2img', 'lidar2cam'), FEATS, cameras)
    with pytest.raises(ValueError, match='DepthBinEncoding needs lidar2img.*came: none'):
        require_matrices('DepthBinEncoding', ('lidar2img', ), FEATS, dict(image_size=torch.ones(2)))


@pytest.mark.parametrize('shape', [(2, 5, 4, 4), (1, 3, 4, 4), (2, 3, 3, 3)])
def test_matrices_must_be_one_an_image(shape):
    with pytest.raises(ValueError, match=r'expected lidar2img \(2, 3, 4, 4\).*one matrix an image, got \('):
        require_matrices('DepthBinEncoding', ('lidar2img', ), FEATS, dict(lidar2img=torch.zeros(shape)))
