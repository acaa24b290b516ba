"""The decoder: scene queries look at each other and at the image memory, layer by layer."""
from __future__ import annotations

from mmcv.cnn.bricks.transformer import FFN
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from .attention import check_global
from .camera_reference_points import CameraReferencePoints, wants_camera_points
from .reference_point_layers import ReferencePointLayers

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
        check_global(self.self_attn, 'SceneQueryDecoder.self_attn_cfg')
        self.cross_attn = MODELS.build({**shared, **cross_attn_cfg})
        self.ffn = FFN(embed_dims, feedforward_channels, ffn_drop=ffn_drop)
        self.norms = nn.ModuleList(nn.LayerNorm(embed_dims) for _ in range(3))

    def forward(self, query: Tensor, query_pos: Tensor, reference_points: Tensor, attn_mask: Tensor | None,
                memory: dict, query_padding_mask: Tensor | None = None) -> Tensor:
        """``(B, Q, C)`` in, ``(B, Q, C)`` out; ``memory`` holds the rest of the cross-attention's keywords."""
        query = self.norms[0](self.self_attn(
            query, query_pos=query_pos, key_pos=query_pos, attn_mask=attn_mask, key_padding_mask=query_padding_mask))
        query = self.norms[1](
            self.cross_attn(query, query_pos=query_pos, reference_points=reference_points, **memory))
        return self.norms[2](self.ffn(query))


@MODELS.register_module()
class SceneQueryDecoder(ReferencePointLayers):
    """A stack of :class:`SceneDecoderLayer`; how queries know and move their points is :class:`ReferencePointLayers`.

    The cross-attention is called with mmcv's keyword set, so that mmcv's own ``MultiheadAttention`` and
    ``MultiScaleDeformableAttention`` work unmodified by changing ``cross_attn_cfg``. Each (camera, level) pair is one
    "level", camera-major. (mmcv registers its classes at mmengine's root: they are named without a scope, or by their
    path, ``mmcv.ops.MultiScaleDeformableAttention``.)

    mmcv's deformable class wants 2D reference points a level. Where it is chosen, with ``num_levels`` of cameras x
    feature levels, the decoder adds :class:`CameraReferencePoints`; boxes stay relative to the 3D points.

    Args:
        num_layers: Number of layers.
        embed_dims: Channels C.
        self_attn_cfg: Attention among the queries; must be global.
        cross_attn_cfg: Attention from the queries to the memory.
        feedforward_channels: Hidden channels of the feed-forward network.
        ffn_drop: Dropout of the feed-forward network.
        refine_reference_points: Let every layer move the reference points.
        radial_positions: Tell the queries the distance and height of their points, but not the direction.
        num_cameras: Cameras of the rig; read only where the cross-attention wants 2D points a camera.
        with_cp: Recompute each layer in the backward pass instead of keeping its activations.

    Raises:
        TypeError: If the self-attention is not global.
    """

    def __init__(self,
                 num_layers: int = 6,
                 embed_dims: int = 256,
                 self_attn_cfg: dict = GLOBAL_ATTENTION,
                 cross_attn_cfg: dict = GLOBAL_ATTENTION,
                 feedforward_channels: int = 2048,
                 ffn_drop: float = 0.1,
                 refine_reference_points: bool = False,
                 radial_positions: bool = False,
                 num_cameras: int = 6,
                 with_cp: bool = False,
                 init_cfg: dict | None = None) -> None:
        layers = (SceneDecoderLayer(embed_dims, self_attn_cfg, cross_attn_cfg, feedforward_channels, ffn_drop)
                  for _ in range(num_layers))
        super().__init__(layers, embed_dims, refine_reference_points, radial_positions, with_cp, init_cfg)
        cross_attn = self.layers[0].cross_attn
        self.camera_points = CameraReferencePoints(
            embed_dims, num_cameras, cross_attn.num_levels) if wants_camera_points(cross_attn) else None

    def forward(self,
                query: Tensor,
                reference_points: Tensor,
                key: Tensor,
                value: Tensor,
                key_pos: Tensor,
                spatial_shapes: Tensor | None = None,
                level_start_index: Tensor | None = None,
                key_padding_mask: Tensor | None = None,
                attn_mask: Tensor | None = None,
                cameras: dict[str, Tensor] | None = None,
                level_shapes: tuple[tuple[int, int], ...] | None = None,
                query_padding_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Decode.

        Args:
            query: ``(B, Q, C)`` content.
            reference_points: ``(B, Q, 3)`` in [0, 1].
            key: ``(B, K, C)`` image features, K = sum over cameras and levels of Hl*Wl (2646 by default).
            value: ``(B, K, C)``, the memory: features with their position code added.
            key_pos: ``(B, K, C)``, the position code; ``key + key_pos == value``.
            spatial_shapes: ``(N*L, 2)`` int64, (Hl, Wl) of each camera and level; deformable attention needs them.
            level_start_index: ``(N*L,)`` int64, where each of them starts among the K.
            key_padding_mask: ``(B, K)`` bool, True at keys to ignore.
            attn_mask: ``(Q, Q)`` bool, True where queries must not see each other.
            cameras: ``lidar2img`` and other ``(B, N, 4, 4)`` matrices, and ``image_size``, for attention that projects.
            level_shapes: The L pairs (Hl, Wl) of each camera as Python integers, for attention that must not wait for
                a device to learn them.
            query_padding_mask: ``(B, Q)`` bool, True at queries that stand for nothing: no other sees them.

        Returns:
            ``(num_layers, B, Q, C)``, the queries after every layer, and ``(num_layers, B, Q, 3)``, the reference
            points to which that layer's boxes are relative.

        Raises:
            ValueError: If the memory's levels are not those that deformable attention was built for.
        """
        memory = dict(
            key=key,
            value=value,
            key_pos=key_pos,
            spatial_shapes=spatial_shapes,
            level_start_index=level_start_index,
            key_padding_mask=key_padding_mask,
            cameras=cameras or {},
            level_shapes=level_shapes)
        if self.camera_points is not None:
            self.camera_points.check_memory(value, spatial_shapes)

        def step(layer: nn.Module, query: Tensor, query_pos: Tensor, reference_points: Tensor) -> Tensor:
            seen_from = reference_points if self.camera_points is None else self.camera_points(query_pos)
            return self.call_layer(layer, query, query_pos, seen_from, attn_mask, memory, query_padding_mask)

        return self.run_layers(query, reference_points, step)
