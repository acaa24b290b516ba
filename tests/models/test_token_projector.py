from types import SimpleNamespace

import pytest
import torch

from scene_qformer.models import IdentityProjector, LinearProjector, MLPProjector
from scene_qformer.models.token_projector import build_projector


def test_shapes():
    query = torch.randn(2, 5, 3)
    assert MLPProjector(3, 7, 11)(query).shape == (2, 5, 11)
    assert LinearProjector(3, 11)(query).shape == (2, 5, 11)
    assert IdentityProjector(3)(query) is query
    assert [projector.out_channels
            for projector in (MLPProjector(3, 7, 11), LinearProjector(3, 11), IdentityProjector(3))] == [11, 11, 3]


def test_mlp_by_hand():
    projector = MLPProjector(3, 7, 11)
    first, _, second = projector.layers
    query = torch.randn(2, 5, 3)
    assert torch.allclose(projector(query), second(torch.nn.functional.gelu(first(query))))


def test_mlp_as_wide_as_the_language_model():
    projector = build_projector(dict(type='mmdet3d.MLPProjector', in_channels=3, hidden_channels=None),
                                SimpleNamespace(hidden_size=11))
    assert [tuple(layer.weight.shape) for layer in (projector.layers[0], projector.layers[2])] == [(11, 3), (11, 11)]


def test_identity_changes_no_width():
    assert IdentityProjector(3, 3).out_channels == 3
    with pytest.raises(ValueError, match='leaves 3 channels as they are, but 11 are wanted'):
        IdentityProjector(3, 11)
