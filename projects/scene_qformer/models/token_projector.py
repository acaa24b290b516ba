"""Projectors: from the decoder's channels to the width of a language model."""
from __future__ import annotations

from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn


@MODELS.register_module()
class MLPProjector(BaseModule):
    """Linear, GELU, linear: the projector of LLaVA-1.5 (Liu et al., arXiv 2310.03744, section 3.2).

    Args:
        in_channels: Channels C of the scene queries.
        hidden_channels: Channels between the two layers; None for as many as ``out_channels``, as in LLaVA.
        out_channels: Width D of the language model.
    """

    def __init__(self, in_channels: int = 256, hidden_channels: int | None = 512, out_channels: int = 4096) -> None:
        super().__init__()
        self.out_channels = out_channels
        hidden_channels = hidden_channels or out_channels
        self.layers = nn.Sequential(
            nn.Linear(in_channels, hidden_channels), nn.GELU(), nn.Linear(hidden_channels, out_channels))

    def forward(self, query: Tensor) -> Tensor:
        """``(B, Q, C)`` in, scene tokens ``(B, Q, D)`` out."""
        return self.layers(query)


@MODELS.register_module()
class LinearProjector(BaseModule):
    """One linear layer, as in the first LLaVA.

    Args:
        in_channels: Channels C of the scene queries.
        out_channels: Width D of the language model.
    """

    def __init__(self, in_channels: int = 256, out_channels: int = 4096) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.layer = nn.Linear(in_channels, out_channels)

    def forward(self, query: Tensor) -> Tensor:
        """``(B, Q, C)`` in, scene tokens ``(B, Q, D)`` out."""
        return self.layer(query)


@MODELS.register_module()
class IdentityProjector(BaseModule):
    """Scene tokens are the decoder's output as it is: D equals C.

    Args:
        in_channels: Channels C of the scene queries.
        out_channels: Width D of the language model, if it is known: must be C.

    Raises:
        ValueError: If it is not.
    """

    def __init__(self, in_channels: int = 256, out_channels: int | None = None) -> None:
        super().__init__()
        if out_channels not in (None, in_channels):
            raise ValueError(f'IdentityProjector leaves {in_channels} channels as they are, but {out_channels} are '
                             'wanted: use LinearProjector or MLPProjector.')
        self.out_channels = in_channels

    def forward(self, query: Tensor) -> Tensor:
        """``(B, Q, C)`` in, the same ``(B, Q, C)`` out."""
        return query


def input_width(projector: nn.Module) -> int | None:
    """The channels that a projector reads; None of one that does not tell, as it has no matrix."""
    return next((value.shape[1] for value in projector.parameters() if value.dim() == 2), None)


def build_projector(projector: dict | None, language_model: nn.Module | None) -> nn.Module | None:
    """A projector to the language model's width.

    Raises:
        ValueError: If ``out_channels`` is given and is another width.
    """
    if projector is None:
        return None
    if language_model is None:
        return MODELS.build(projector)
    width = language_model.hidden_size
    if projector.get('out_channels', width) != width:
        raise ValueError(f"The projector's out_channels is {projector['out_channels']}, but the language model's "
                         f'embeddings have {width} numbers. Leave out_channels out, and it is taken from the model.')
    return MODELS.build({**projector, 'out_channels': width})
