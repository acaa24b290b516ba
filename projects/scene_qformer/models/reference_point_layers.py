"""What the query decoder and the joint encoder share: layers whose queries know, and may move, their 3D points."""
from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..geometry import from_ray_frame
from .positional_encoding import sine_embedding

# A refinement of 1 moves a point by this fraction of the range, some metres: steps of Adam then stay well below one.
REFINEMENT_UNIT = 0.02


class ReferencePointLayers(BaseModule):
    """A stack of layers through which queries go with their 3D reference points.

    Queries are told their place by a two-layer MLP on the sine embedding of their reference point (PETR, Liu et al.,
    arXiv 2203.05625, section 3.4). With ``refine_reference_points`` each layer moves the points, as in Deformable DETR
    (arXiv 2010.04159, appendix A.4): the next layer looks from where the last one believes the object to be.

    Args:
        layers: The layers, each with a feed-forward network ``ffn``; a generator builds them after ``embed_dims`` has
            been checked.
        embed_dims: Channels C.
        refine_reference_points: Let every layer move the reference points.
        radial_positions: Tell the queries how far out and how high their points are, but not in which direction. Then
            nothing that a query does depends on how the LiDAR frame is turned about z, provided that its attention and
            its heads do not either (``SurroundDeformableAttention``, a ``ray_aligned`` head) and that the range is
            square around the origin. The price: in self-attention, queries do not know on which side others are.
        with_cp: Recompute each layer in the backward pass instead of keeping its activations.

    Raises:
        ValueError: If C is not divisible by 4.
    """

    def __init__(self,
                 layers: Iterable[nn.Module],
                 embed_dims: int,
                 refine_reference_points: bool = False,
                 radial_positions: bool = False,
                 with_cp: bool = False,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if embed_dims % 4:
            raise ValueError(f'{type(self).__name__} needs embed_dims divisible by 4 (half of it in sine and cosine '
                             f'for each axis), got {embed_dims}.')
        self.embed_dims = embed_dims
        self.radial_positions = radial_positions
        self.with_cp = with_cp
        self.layers = ModuleList(layers)  # mmengine's: init_weights does not reach through torch's
        coordinates = 2 if radial_positions else 3
        self.position_mlp = nn.Sequential(
            nn.Linear(coordinates * (embed_dims // 2), embed_dims), nn.ReLU(), nn.Linear(embed_dims, embed_dims))
        self.refinements = nn.ModuleList(
            nn.Linear(embed_dims, 3) for _ in self.layers) if refine_reference_points else None

    def init_weights(self) -> None:
        super().init_weights()
        # Attention modules initialise themselves.
        for module in (self.position_mlp, *(layer.ffn for layer in self.layers)):
            for parameter in module.parameters():
                if parameter.dim() > 1:
                    nn.init.xavier_uniform_(parameter)
        for refinement in self.refinements or ():
            nn.init.zeros_(refinement.weight)
            nn.init.zeros_(refinement.bias)

    def run_layers(self,
                   tokens: Tensor,
                   reference_points: Tensor,
                   step: Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor],
                   read: Callable[[Tensor], Tensor] = lambda tokens: tokens) -> tuple[Tensor, Tensor]:
        """Send tokens through all layers.

        Args:
            tokens: ``(B, Q, C)``, or more tokens after these Q.
            reference_points: ``(B, Q, 3)`` in [0, 1].
            step: Called with a layer, the tokens, ``query_pos`` ``(B, Q, C)`` and the reference points; gives the
                tokens after that layer. It calls the layer by :meth:`call_layer`.
            read: Takes the queries ``(B, Q, C)`` out of the tokens.

        Returns:
            ``(num_layers, B, Q, C)``, the queries after every layer, and ``(num_layers, B, Q, 3)``, the reference
            points to which that layer's boxes are relative.
        """
        query_pos = self.encode_position(reference_points, tokens.dtype)
        states, points = [], []
        for index, layer in enumerate(self.layers):
            tokens = step(layer, tokens, query_pos, reference_points)
            query = read(tokens)
            states.append(query)
            if self.refinements is not None:
                refined = move_points(reference_points, self.refinements[index](query))
                points.append(refined)
                # Each layer learns its own step; gradients through all of them would not settle.
                reference_points = refined.detach()
                query_pos = self.encode_position(reference_points, query.dtype)
            else:
                points.append(reference_points)
        return torch.stack(states), torch.stack(points)

    def call_layer(self, layer: nn.Module, *arguments) -> Tensor:
        """Call a layer, and with ``with_cp`` recompute it in the backward pass."""
        if self.with_cp and torch.is_grad_enabled():
            return checkpoint(layer, *arguments, use_reentrant=False)
        return layer(*arguments)

    def encode_position(self, reference_points: Tensor, dtype: torch.dtype) -> Tensor:
        """``(B, Q, 3)`` to ``(B, Q, C)``."""
        if self.radial_positions:
            # from the middle of the range, where the vehicle is, to its corner: 0 to 1
            radius = (reference_points[..., :2] - 0.5).norm(dim=-1, keepdim=True) / math.sqrt(0.5)
            reference_points = torch.cat((radius, reference_points[..., 2:]), dim=-1)
        return self.position_mlp(sine_embedding(reference_points, self.embed_dims // 2).to(dtype))


def move_points(reference_points: Tensor, step: Tensor) -> Tensor:
    """Move points ``(B, Q, 3)`` in [0, 1] by a predicted ``step`` ``(B, Q, 3)``: along the ray, across it, up."""
    step = step.float()
    # Along and across the ray to the point, so that a step depends on what is seen, not on where; the range lies
    # around the vehicle, so the rays start in its middle.
    step = torch.cat((from_ray_frame(step[..., :2], reference_points[..., :2] - 0.5), step[..., 2:]), -1)
    return (reference_points.float() + REFINEMENT_UNIT * step).clamp(0, 1)
