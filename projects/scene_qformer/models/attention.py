"""Attention modules of the decoder.

All of them take mmcv's keyword set (see ``query_decoder.py``), add the input back (``identity``) and apply dropout
before doing so, exactly as ``mmcv.cnn.bricks.transformer.MultiheadAttention`` does.
"""
from __future__ import annotations

import inspect

from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn


@MODELS.register_module()
class GlobalAttention(BaseModule):
    """Every query attends to every key, through PyTorch's fused scaled-dot-product kernel.

    The weights, their names and the result are those of mmcv's ``MultiheadAttention``; that class asks for the
    averaged attention weights and thereby never reaches the fused kernel, this one does not.

    Args:
        embed_dims: Channels C.
        num_heads: Number of heads; must divide C.
        attn_drop: Dropout of the attention weights.
        proj_drop: Dropout of the output, before the input is added.
        batch_first: Only True is supported; the argument exists because mmcv's classes have it.
    """

    def __init__(self,
                 embed_dims: int = 256,
                 num_heads: int = 8,
                 attn_drop: float = 0.,
                 proj_drop: float = 0.,
                 batch_first: bool = True,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if not batch_first:
            raise ValueError('GlobalAttention works batch first: (B, Q, C). Leave batch_first=True.')
        if embed_dims % num_heads:
            raise ValueError(f'num_heads={num_heads} does not divide embed_dims={embed_dims}.')
        self.attn = nn.MultiheadAttention(embed_dims, num_heads, dropout=attn_drop, batch_first=True)
        self.proj_drop = nn.Dropout(proj_drop)

    def init_weights(self) -> None:
        super().init_weights()
        nn.init.xavier_uniform_(self.attn.in_proj_weight)
        nn.init.xavier_uniform_(self.attn.out_proj.weight)

    def forward(self,
                query: Tensor,
                key: Tensor | None = None,
                value: Tensor | None = None,
                identity: Tensor | None = None,
                query_pos: Tensor | None = None,
                key_pos: Tensor | None = None,
                attn_mask: Tensor | None = None,
                key_padding_mask: Tensor | None = None,
                **kwargs) -> Tensor:
        """Attend.

        Args:
            query: ``(B, Q, C)``.
            key: ``(B, K, C)``; the query itself by default (self-attention).
            value: ``(B, K, C)``; the key by default.
            identity: ``(B, Q, C)`` to which the result is added; the query by default.
            query_pos: ``(B, Q, C)``, added to the query.
            key_pos: ``(B, K, C)``, added to the key; in self-attention ``query_pos`` by default.
            attn_mask: ``(Q, K)`` bool, True where attention is forbidden, or float, added to the logits.
            key_padding_mask: ``(B, K)`` bool, True at keys to ignore.
            kwargs: The rest of the decoder's keyword set, which global attention does not need.

        Returns:
            ``(B, Q, C)``.
        """
        if key is None:
            key = query
            key_pos = query_pos if key_pos is None else key_pos
        value = key if value is None else value
        identity = query if identity is None else identity
        attended, _ = self.attn(
            query if query_pos is None else query + query_pos,
            key if key_pos is None else key + key_pos,
            value,
            attn_mask=attn_mask,
            key_padding_mask=key_padding_mask,
            need_weights=False)
        return identity + self.proj_drop(attended)


def check_global(attention: nn.Module, setting: str) -> None:
    """Attention among tokens has no image to look into, so it must not want one.

    Args:
        attention: The built module.
        setting: Where it was configured, e.g. ``SceneQueryDecoder.self_attn_cfg``.

    Raises:
        TypeError: If it looks around reference points, which deformable attention does.
    """
    if inspect.signature(attention.forward).parameters.keys() & {'reference_points', 'spatial_shapes'}:
        raise TypeError(f'{setting} attends among tokens and must be global (GlobalAttention, MultiheadAttention), got '
                        f'{type(attention).__name__}, which looks around reference points in images. That is what '
                        'SceneQueryDecoder.cross_attn_cfg is for.')
