"""The learned queries that become scene tokens."""
from __future__ import annotations

from typing import NamedTuple

from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from .positional_encoding import sine_embedding


class QueryState(NamedTuple):
    """What the decoder starts from."""

    query: Tensor  # (B, Q, C) content
    query_pos: Tensor  # (B, Q, C) added to the content wherever attention is computed
    reference_points: Tensor  # (B, Q, 3) in [0, 1], fractions of the heads' point_cloud_range (LiDAR frame)


@MODELS.register_module()
class SceneQueries(BaseModule):
    """Unified scene queries: learned content, and a learned 3D reference point from which the position code is made.

    One set serves every head and the language model; nothing says which query is for what. The position code is a
    two-layer MLP on the sine embedding of the reference point, as in PETR (Liu et al., arXiv 2203.05625, section 3.4).

    Args:
        num_queries: Number Q of queries.
        embed_dims: Channels C.
    """

    def __init__(self, num_queries: int = 512, embed_dims: int = 256) -> None:
        super().__init__()
        if embed_dims % 4:
            raise ValueError('SceneQueries needs embed_dims divisible by 4 (half of it in sine and cosine for each axis), '
                             f'got {embed_dims}.')
        self.num_queries = num_queries
        self.embed_dims = embed_dims
        self.query_embedding = nn.Embedding(num_queries, embed_dims)
        self.reference_points = nn.Embedding(num_queries, 3)
        self.position_mlp = nn.Sequential(
            nn.Linear(3 * (embed_dims // 2), embed_dims), nn.ReLU(), nn.Linear(embed_dims, embed_dims))

    def init_weights(self) -> None:
        super().init_weights()
        nn.init.normal_(self.query_embedding.weight, std=0.02)
        nn.init.uniform_(self.reference_points.weight, 0, 1)

    def forward(self, batch_size: int) -> QueryState:
        """Give every sample of the batch the same queries."""
        reference_points = self.reference_points.weight.clamp(0, 1)
        embedding = sine_embedding(reference_points, self.embed_dims // 2)
        query_pos = self.position_mlp(embedding.to(self.query_embedding.weight.dtype))
        return QueryState(*(tensor.expand(batch_size, *tensor.shape)
                            for tensor in (self.query_embedding.weight, query_pos, reference_points)))
