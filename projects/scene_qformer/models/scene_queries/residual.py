"""A residual from the images to the queries."""
from __future__ import annotations

import torch
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from .pooling import mean_of_cameras
from .query_set import QuerySet


@MODELS.register_module()
class ResidualSceneQueries(BaseModule):
    """Any scene queries, with the pooled image features added to every query's content.

    ::

        content = queries + tanh(gate) * Linear(LayerNorm(mean of all cells of all cameras))

    The gate starts at 0, as that of the cross-attention in Flamingo (Alayrac et al., arXiv 2204.14198): training begins
    with exactly the wrapped queries, and lets the images in as far as it helps. The residual is added to what enters
    the decoder and not to what leaves it: the decoder's own residual connections carry it through all layers to the
    tokens, and every layer can use it, while a sum behind the decoder would give every token the same unread vector.
    It also works with any decoder.

    Args:
        queries: Config of the scene queries.
        embed_dims: Channels C.
    """

    def __init__(self, queries: dict, embed_dims: int = 256) -> None:
        super().__init__()
        self.queries = MODELS.build({'embed_dims': embed_dims, **queries})
        self.embed_dims = embed_dims
        self.num_queries = self.queries.num_queries
        self.group_names: tuple[str, ...] = getattr(self.queries, 'group_names', ())
        self.num_tokens = getattr(self.queries, 'num_tokens', self.num_queries)
        self.feature_norm = nn.LayerNorm(embed_dims)
        self.feature_proj = nn.Linear(embed_dims, embed_dims)
        self.gate = nn.Parameter(torch.zeros(1))

    def init_weights(self) -> None:
        super().init_weights()
        nn.init.xavier_uniform_(self.feature_proj.weight)

    def forward(self, img_feats: list[Tensor], cameras: dict[str, Tensor]) -> QuerySet:
        """Add the residual.

        Args:
            img_feats: One ``(B, N, C, Hl, Wl)`` per level; the last, coarsest one is read.
            cameras: For the wrapped queries; a missing camera is left out of the mean.
        """
        query_set = self.queries(img_feats, cameras)
        scene = mean_of_cameras(img_feats[-1], cameras)  # (B, 1, C)
        residual = self.gate.tanh() * self.feature_proj(self.feature_norm(scene))
        return query_set._replace(query=query_set.query + residual)

    def loss(self, query_set: QuerySet, cameras: dict[str, Tensor], batch_data_samples: list) -> dict[str, Tensor]:
        """The wrapped queries' own."""
        return self.queries.loss(query_set, cameras, batch_data_samples)
