"""Weights of the joint encoder: what scene tokens give to image tokens, of their attention to all tokens."""
from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ..joint_scene_encoder import JointSceneLayer
from .weights import attention_weights


@attention_weights.register(JointSceneLayer)
def _(module: JointSceneLayer, inputs: dict[str, Any], queries: Tensor) -> Tensor:
    tokens, query_pos, masks = inputs['tokens'], inputs['query_pos'], inputs['masks']
    num_queries = query_pos.shape[1]
    key = module.norms[0](tokens.to(module.norms[0].weight.dtype))
    weights = attention_weights(
        module.attn,
        dict(
            query=key[:, :num_queries],
            query_pos=query_pos,
            key=key,
            key_pos=F.pad(query_pos, (0, 0, 0, key.shape[1] - num_queries)),
            attn_mask=masks.scene,
            key_padding_mask=masks.padding), queries)
    return weights[..., num_queries:]  # the rest went to scene tokens
