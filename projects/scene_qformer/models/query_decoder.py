"""The decoder: scene queries look at each other and at the image memory, layer by layer."""
from __future__ import annotations

import torch
from mmcv.cnn.bricks.transformer import FFN
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..geometry import from_ray_frame
from .positional_encoding import sine_embedding

# A refinement of 1 moves a point by this fraction of the range, some metres: steps of Adam then stay well below one.
REFINEMENT_UNIT = 0.02

GLOBAL_ATTENTION = dict(type='GlobalAttention', num_heads=8, attn_drop=0.1, proj_drop=0.1)


class SceneDecoderLayer(BaseModule):
    """Self-attention, cross-attention and feed-forward, each followed by its LayerNorm (post-norm, as in DETR).

    Args:
        embed_dims: Channels C.
        self_attn_cfg: Attention among the queries.
        cross_attn_cfg: Attention from the queries to the memory.
        feedforward_channels: Hidden channels of the feed-forward network.
        ffn_drop: Dropout of the feed-forward network.
    """

    def __init__(self, embed_dims: int, self_attn_cfg: dict, cross_attn_cfg: dict, feedforward_channels: int,
                 ffn_drop: float) -> None:
        super().__init__()
        shared = dict(embed_dims=embed_dims, batch_first=True)
        self.self_attn = MODELS.build({**shared, **self_attn_cfg})
        self.cross_attn = MODELS.build({**shared, **cross_attn_cfg})
        self.ffn = FFN(embed_dims, feedforward_channels, ffn_drop=ffn_drop)
        self.norms = nn.ModuleList(nn.LayerNorm(embed_dims) for _ in range(3))

    def forward(self, query: Tensor, query_pos: Tensor, reference_points: Tensor, attn_mask: Tensor | None,
                memory: dict) -> Tensor:
        """``(B, Q, C)`` in, ``(B, Q, C)`` out; ``memory`` holds the rest of the cross-attention's keywords."""
        query = self.norms[0](self.self_attn(query, query_pos=query_pos, key_pos=query_pos, attn_mask=attn_mask))
        query = self.norms[1](
            self.cross_attn(query, query_pos=query_pos, reference_points=reference_points, **memory))
        return self.norms[2](self.ffn(query))


@MODELS.register_module()
class SceneQueryDecoder(BaseModule):
    """A stack of :class:`SceneDecoderLayer`.

    The cross-attention is called with mmcv's keyword set, so that mmcv's own ``MultiheadAttention`` works unmodified by
    changing ``cross_attn_cfg['type']``. Each (camera, level) pair is one "level", camera-major. (mmcv's
    ``MultiScaleDeformableAttention`` wants 2D reference points a level, which these queries do not have.)

    Queries are told their place by a two-layer MLP on the sine embedding of their reference point (PETR, Liu et al.,
    arXiv 2203.05625, section 3.4). With ``refine_reference_points`` each layer moves the points, as in Deformable DETR
    (arXiv 2010.04159, appendix A.4): the next layer looks from where the last one believes the object to be.

    Args:
        num_layers: Number of layers.
        embed_dims: Channels C.
        self_attn_cfg: Attention among the queries.
        cross_attn_cfg: Attention from the queries to the memory.
        feedforward_channels: Hidden channels of the feed-forward network.
        ffn_drop: Dropout of the feed-forward network.
        refine_reference_points: Let every layer move the reference points.
        with_cp: Recompute each layer in the backward pass instead of keeping its activations.
    """

    def __init__(self,
                 num_layers: int = 6,
                 embed_dims: int = 256,
                 self_attn_cfg: dict = GLOBAL_ATTENTION,
                 cross_attn_cfg: dict = GLOBAL_ATTENTION,
                 feedforward_channels: int = 2048,
                 ffn_drop: float = 0.1,
                 refine_reference_points: bool = False,
                 with_cp: bool = False,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if embed_dims % 4:
            raise ValueError('SceneQueryDecoder needs embed_dims divisible by 4 (half of it in sine and cosine for '
                             f'each axis), got {embed_dims}.')
        self.embed_dims = embed_dims
        self.with_cp = with_cp
        self.layers = nn.ModuleList(
            SceneDecoderLayer(embed_dims, self_attn_cfg, cross_attn_cfg, feedforward_channels, ffn_drop)
            for _ in range(num_layers))
        self.position_mlp = nn.Sequential(
            nn.Linear(3 * (embed_dims // 2), embed_dims), nn.ReLU(), nn.Linear(embed_dims, embed_dims))
        self.refinements = nn.ModuleList(
            nn.Linear(embed_dims, 3) for _ in range(num_layers)) if refine_reference_points else None

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

    def forward(self,
                query: Tensor,
                reference_points: Tensor,
                key: Tensor,
                value: Tensor,
                key_pos: Tensor,
                spatial_shapes: Tensor,
                level_start_index: Tensor,
                key_padding_mask: Tensor | None = None,
                attn_mask: Tensor | None = None,
                cameras: dict[str, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Decode.

        Args:
            query: ``(B, Q, C)`` content.
            reference_points: ``(B, Q, 3)`` in [0, 1].
            key: ``(B, K, C)`` image features, K = sum over cameras and levels of Hl*Wl (2646 by default).
            value: ``(B, K, C)``, the memory: features with their position code added.
            key_pos: ``(B, K, C)``, the position code; ``key + key_pos == value``.
            spatial_shapes: ``(N*L, 2)`` int64, (Hl, Wl) of each camera and level.
            level_start_index: ``(N*L,)`` int64, where each of them starts among the K.
            key_padding_mask: ``(B, K)`` bool, True at keys to ignore.
            attn_mask: ``(Q, Q)`` bool, True where queries must not see each other.
            cameras: ``lidar2img`` and other ``(B, N, 4, 4)`` matrices, and ``image_size``, for attention that projects.

        Returns:
            ``(num_layers, B, Q, C)``, the queries after every layer, and ``(num_layers, B, Q, 3)``, the reference
            points to which that layer's boxes are relative.
        """
        memory = dict(
            key=key,
            value=value,
            key_pos=key_pos,
            spatial_shapes=spatial_shapes,
            level_start_index=level_start_index,
            key_padding_mask=key_padding_mask,
            cameras=cameras or {})
        query_pos = self._encode_position(reference_points, query.dtype)
        states, points = [], []
        for index, layer in enumerate(self.layers):
            arguments = (query, query_pos, reference_points, attn_mask, memory)
            if self.with_cp and torch.is_grad_enabled():
                query = checkpoint(layer, *arguments, use_reentrant=False)
            else:
                query = layer(*arguments)
            states.append(query)
            if self.refinements is not None:
                step = self.refinements[index](query).float()
                # Along and across the ray to the point, so that a step depends on what is seen, not on where; the
                # range lies around the vehicle, so the rays start in its middle.
                step = torch.cat((from_ray_frame(step[..., :2], reference_points[..., :2] - 0.5), step[..., 2:]), -1)
                refined = (reference_points.float() + REFINEMENT_UNIT * step).clamp(0, 1)
                points.append(refined)
                # Each layer learns its own step; gradients through all of them would not settle.
                reference_points = refined.detach()
                query_pos = self._encode_position(reference_points, query.dtype)
            else:
                points.append(reference_points)
        return torch.stack(states), torch.stack(points)

    def _encode_position(self, reference_points: Tensor, dtype: torch.dtype) -> Tensor:
        """``(B, Q, 3)`` to ``(B, Q, C)``."""
        return self.position_mlp(sine_embedding(reference_points, self.embed_dims // 2).to(dtype))
