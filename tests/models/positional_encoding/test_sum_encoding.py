import pytest
import torch

from scene_qformer.models import SumEncoding

FEATS = [torch.zeros(2, 3, 8, 5, 7), torch.zeros(2, 3, 8, 3, 4)]


def test_sum_is_the_sum():
    encoding = SumEncoding([dict(type='Sine2DEncoding', embed_dims=8), dict(type='CameraIDEncoding', embed_dims=8)])
    for level, sine, camera in zip(encoding(FEATS, {}), *(part(FEATS, {}) for part in encoding.encodings)):
        assert torch.equal(level, sine + camera)
    with pytest.raises(ValueError, match='at least one'):
        SumEncoding([])
