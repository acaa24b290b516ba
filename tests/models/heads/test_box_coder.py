import math

import pytest
import torch

from scene_qformer.models import NMSFreeBBoxCoder

RANGE = (-10., -20., -3., 10., 20., 3.)


def test_encode_by_hand():
    code = NMSFreeBBoxCoder.encode(torch.tensor([[1., 2., 3., math.e, 1., math.e**2, math.pi / 6, 5., -7.]]))
    expected = torch.tensor([[1., 2., 3., 1., 0., 2., 0.5, math.sqrt(3) / 2, 5., -7.]])
    assert torch.allclose(code, expected, atol=1e-6)


def test_decode_inverts_encode():
    boxes = torch.rand(11, 9, generator=torch.Generator().manual_seed(0)) * 5 + 0.1
    boxes[:, 6] = torch.linspace(-3.1, 3.1, 11)
    assert torch.allclose(NMSFreeBBoxCoder.decode_boxes(NMSFreeBBoxCoder.encode(boxes)), boxes, atol=1e-5)


def test_picks_the_best_pairs_in_order():
    codes = torch.zeros(3, 10)
    codes[:, 0] = torch.tensor([1., 2., 3.])
    logits = torch.tensor([[0., -5.], [4., 3.], [-6., 2.]])
    boxes, scores, labels = NMSFreeBBoxCoder(RANGE, max_num=4).decode(logits, codes)
    assert torch.allclose(scores, torch.tensor([4., 3., 2., 0.]).sigmoid())
    assert labels.tolist() == [0, 1, 1, 0]
    assert boxes[:, 0].tolist() == [2., 2., 3., 1.]  # one query may give two boxes


def test_drops_what_lies_outside_or_scores_too_low():
    codes = torch.zeros(3, 10)
    codes[0, 1] = 20.5
    codes[1, 2] = -3.
    logits = torch.tensor([[5.], [1.], [-1.]])
    boxes, scores, _ = NMSFreeBBoxCoder(RANGE, score_threshold=0.3).decode(logits, codes)
    assert scores.tolist() == [torch.tensor(1.).sigmoid().item()]
    assert boxes[0, 2] == -3.


def test_range_is_checked():
    with pytest.raises(ValueError, match='got 4 numbers'):
        NMSFreeBBoxCoder([0, 0, 1, 1])
