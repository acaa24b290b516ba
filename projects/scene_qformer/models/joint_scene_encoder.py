"""The joint encoder: scene tokens and image tokens attend to each other and to themselves, layer by layer."""
from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import FFN
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from .attention import check_global
from .query_decoder import GLOBAL_ATTENTION
from .reference_point_layers import ReferencePointLayers


class JointMasks(NamedTuple):
    """Who sees whom among Q scene tokens, then K image tokens; None where nothing is forbidden.

    With two scene tokens of which q0 must not see q1, and two image tokens, x is forbidden::

              q0 q1 i0 i1
          q0  .  x  .  .
          q1  .  .  .  .
          i0  .  x  .  .      an image token would pass on to q0 what it reads in q1
          i1  .  x  .  .
    """

    scene: Tensor | None  # (Q, Q + K) bool, True where a scene token must not look
    image: Tensor | None  # (M,) int64, the tokens at which image tokens may look
    padding: Tensor | None  # (B, Q + K) bool, True at tokens that nobody may look at

    @classmethod
    def build(cls, attn_mask: Tensor | None, key_padding_mask: Tensor | None, num_queries: int,
              num_keys: int, query_padding_mask: Tensor | None = None) -> JointMasks:
        """From the masks that the decoder takes.

        Args:
            attn_mask: ``(Q, Q)`` bool, True where the row's scene token must not see the column's. A token that is
                hidden from any other is hidden from all image tokens too.
            key_padding_mask: ``(B, K)`` bool, True at image tokens to ignore.
            num_queries: Q.
            num_keys: K.
            query_padding_mask: ``(B, Q)`` bool, True at scene tokens to ignore.
        """
        scene = image = padding = None
        if attn_mask is not None:
            scene = F.pad(attn_mask, (0, num_keys))
            hidden = F.pad(attn_mask.any(dim=0), (0, num_keys))
            image = (~hidden).nonzero()[:, 0]
        if key_padding_mask is not None:
            padding = F.pad(key_padding_mask, (num_queries, 0))
        if query_padding_mask is not None:
            queries = F.pad(query_padding_mask, (0, num_keys))
            padding = queries if padding is None else padding | queries
        return cls(scene, image, padding)


class JointSceneLayer(BaseModule):
    """Self-attention over scene and image tokens, then feed-forward, with the LayerNorm before each (pre-norm).

    Pre-norm, as in ViT (Dosovitskiy et al., arXiv 2010.11929), because all tokens pass all layers here: backbone
    features of whatever scale stay on an unnormalised residual path, and gradients are even over the depth from the
    first step on (Xiong et al., arXiv 2002.04745). The decoder's post-norm only ever meets its own queries.

    The attention is called once for the scene tokens and once for the image tokens, which gives the same as one call:
    softmax works row by row. So the mask among scene tokens stays small, the many image tokens take the fused kernel
    without a mask, and the last layer can leave them out.

    Args:
        embed_dims: Channels C.
        attn_cfg: The attention; global.
        feedforward_channels: Hidden channels of the feed-forward network.
        ffn_drop: Dropout of the feed-forward network.
        drop_images: Return the scene tokens only.
    """

    def __init__(self, embed_dims: int, attn_cfg: dict, feedforward_channels: int, ffn_drop: float,
                 drop_images: bool) -> None:
        super().__init__()
        self.drop_images = drop_images
        self.attn = MODELS.build({'embed_dims': embed_dims, 'batch_first': True, **attn_cfg})
        check_global(self.attn, 'JointSceneEncoder.attn_cfg')
        self.ffn = FFN(embed_dims, feedforward_channels, ffn_drop=ffn_drop)
        self.norms = nn.ModuleList(nn.LayerNorm(embed_dims) for _ in range(2))

    def forward(self, tokens: Tensor, query_pos: Tensor, masks: JointMasks) -> Tensor:
        """``(B, Q + K, C)`` tokens and the ``(B, Q, C)`` positions of the first Q in; tokens out."""
        num_queries = query_pos.shape[1]
        key = self.norms[0](tokens)
        key_pos = F.pad(query_pos, (0, 0, 0, tokens.shape[1] - num_queries))  # image tokens carry theirs in themselves
        attended = self.attn(
            key[:, :num_queries],
            key=key,
            value=key,
            identity=tokens[:, :num_queries],
            query_pos=query_pos,
            key_pos=key_pos,
            attn_mask=masks.scene,
            key_padding_mask=masks.padding)
        if not self.drop_images:
            padding, images = masks.padding, key[:, num_queries:]
            if masks.image is not None:
                key, key_pos = key[:, masks.image], key_pos[:, masks.image]
                padding = None if padding is None else padding[:, masks.image]
            images = self.attn(
                images,
                key=key,
                value=key,
                identity=tokens[:, num_queries:],
                key_pos=key_pos,
                key_padding_mask=padding)
            attended = torch.cat((attended, images), dim=1)
        return self.ffn(self.norms[1](attended), identity=attended)


@MODELS.register_module()
class JointSceneEncoder(ReferencePointLayers):
    """Scene tokens and all image tokens in one sequence, L layers of full self-attention (Flex, arXiv 2512.10947).

    Takes the place of :class:`SceneQueryDecoder` and is called as it is, so that queries, encodings, heads and
    projector are shared. The difference: here the images are read anew in every layer, by the scene tokens and by
    each other. Scene tokens are prepended to the image tokens (features with their position code); after the last
    layer the image tokens are dropped.

    How queries know and move their points is :class:`ReferencePointLayers`. The positions of scene tokens are added in
    every layer, because refined points move; those of image tokens are part of them, as in Flex.

    Args:
        num_layers: Number L of layers.
        embed_dims: Channels C.
        attn_cfg: Attention among all tokens; must be global (``GlobalAttention``, mmcv's ``MultiheadAttention``).
        feedforward_channels: Hidden channels of the feed-forward network.
        ffn_drop: Dropout of the feed-forward network.
        refine_reference_points: Let every layer move the reference points.
        radial_positions: Tell the queries the distance and height of their points, but not the direction.
        with_cp: Recompute each layer in the backward pass instead of keeping its activations.

    Raises:
        TypeError: If the attention is not global.
    """

    def __init__(self,
                 num_layers: int = 8,
                 embed_dims: int = 256,
                 attn_cfg: dict = GLOBAL_ATTENTION,
                 feedforward_channels: int = 2048,
                 ffn_drop: float = 0.1,
                 refine_reference_points: bool = False,
                 radial_positions: bool = False,
                 with_cp: bool = False,
                 init_cfg: dict | None = None) -> None:
        layers = (JointSceneLayer(embed_dims, attn_cfg, feedforward_channels, ffn_drop, index == num_layers - 1)
                  for index in range(num_layers))
        super().__init__(layers, embed_dims, refine_reference_points, radial_positions, with_cp, init_cfg)
        self.norm = nn.LayerNorm(embed_dims)  # the residual path has none of its own

    def forward(self,
                query: Tensor,
                reference_points: Tensor,
                value: Tensor,
                key_padding_mask: Tensor | None = None,
                attn_mask: Tensor | None = None,
                query_padding_mask: Tensor | None = None,
                **kwargs) -> tuple[Tensor, Tensor]:
        """Encode.

        Args:
            query: ``(B, Q, C)`` content.
            reference_points: ``(B, Q, 3)`` in [0, 1].
            value: ``(B, K, C)``, the image tokens: features with their position code added.
            key_padding_mask: ``(B, K)`` bool, True at image tokens to ignore.
            attn_mask: ``(Q, Q)`` bool, True where queries must not see each other, directly or through image tokens:
                see :class:`JointMasks`.
            query_padding_mask: ``(B, Q)`` bool, True at queries that stand for nothing: no other token sees them.
            kwargs: The rest of the decoder's keyword set (key, key_pos, spatial_shapes, level_start_index, cameras).

        Returns:
            ``(num_layers, B, Q, C)``, the scene tokens after every layer, and ``(num_layers, B, Q, 3)``, the reference
            points to which that layer's boxes are relative.
        """
        num_queries = query.shape[1]
        masks = JointMasks.build(attn_mask, key_padding_mask, num_queries, value.shape[1], query_padding_mask)

        def step(layer: nn.Module, tokens: Tensor, query_pos: Tensor, reference_points: Tensor) -> Tensor:
            return self.call_layer(layer, tokens, query_pos, masks)

        return self.run_layers(
            torch.cat((query, value), dim=1), reference_points, step, lambda tokens: self.norm(tokens[:, :num_queries]))
