import math

import pytest
import torch

from scene_qformer.models import Sine2DEncoding
from scene_qformer.models.positional_encoding import sine_embedding

FEATS = [torch.zeros(2, 3, 8, 5, 7), torch.zeros(2, 3, 8, 3, 4)]


def test_sine_embedding_by_hand():
    embedding = sine_embedding(torch.tensor([[0.25, 0.5]]), num_feats=4, temperature=100.)
    expected = []
    for x in (0.25, 0.5):
        for wavelength in (1., 10.):  # 100 ** (0 / 4), 100 ** (2 / 4)
            expected += [math.sin(2 * math.pi * x / wavelength), math.cos(2 * math.pi * x / wavelength)]
    assert torch.allclose(embedding, torch.tensor([expected]), atol=1e-6)


def test_sine_2d_encodes_cell_centres():
    encoding = Sine2DEncoding(embed_dims=8)(FEATS, {})
    assert [tuple(level.shape) for level in encoding] == [(1, 1, 8, 5, 7), (1, 1, 8, 3, 4)]
    row, column = 3, 2
    # first half the row, second half the column; feature 0 is sin(2 pi (i + 0.5) / H)
    assert encoding[0][0, 0, 0, row, column].item() == pytest.approx(math.sin(2 * math.pi * 3.5 / 5), abs=1e-5)
    assert encoding[0][0, 0, 4, row, column].item() == pytest.approx(math.sin(2 * math.pi * 2.5 / 7), abs=1e-5)


def test_width_must_allow_sine_and_cosine_of_two_axes():
    with pytest.raises(ValueError, match='divisible by 4.*got 6'):
        Sine2DEncoding(embed_dims=6)
