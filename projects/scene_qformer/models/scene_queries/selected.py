"""Queries selected among the features of the images."""
from __future__ import annotations

import torch
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..camera_mask import missing_cells
from .query_set import QuerySet


@MODELS.register_module()
class SelectedSceneQueries(BaseModule):
    """The Q feature cells that a learned score prefers, over all cameras and levels, become the queries.

    ::

        f = LayerNorm(feature + position code)                        of each of the K cells
        s = sigmoid(score(f))                                         the Q cells of the highest s are taken
        content = embedding[rank] + s * content_proj(f)
        reference point = sigmoid(point_mlp(f))

    Selection alone has no gradient. Scaling the content by the score gives it one, as in mixtures of experts (Shazeer
    et al., arXiv 1701.06538, section 2.1): cells whose content helps the heads are scored higher. No labels are
    needed, unlike in :class:`ProposalQueries`, whose cells are taught to be object centres. A part of the content is
    learned, one embedding for each rank, because a raw feature can mislead the decoder: it may show half an object, or
    two (DINO, Zhang et al., arXiv 2203.03605, section 3.4, where all of the content is learned).

    Where a cell looks is known to the position code only, from which the 3D reference point is predicted; no camera
    matrices are needed unless that encoding needs them. Give the model's own ``positional_encoding`` config.

    Args:
        positional_encoding: Config of the encoding that is added to the features here.
        num_queries: Number Q of queries.
        embed_dims: Channels C.
    """

    def __init__(self, positional_encoding: dict, num_queries: int = 512, embed_dims: int = 256) -> None:
        super().__init__()
        self.num_queries, self.embed_dims = num_queries, embed_dims
        self.positional_encoding = MODELS.build(positional_encoding)
        self.query_embedding = nn.Embedding(num_queries, embed_dims)
        self.feature_norm = nn.LayerNorm(embed_dims)
        self.score = nn.Linear(embed_dims, 1)
        self.content_proj = nn.Linear(embed_dims, embed_dims)
        self.point_mlp = nn.Sequential(nn.Linear(embed_dims, embed_dims), nn.ReLU(), nn.Linear(embed_dims, 3))

    def init_weights(self) -> None:
        super().init_weights()
        nn.init.normal_(self.query_embedding.weight, std=0.02)
        nn.init.xavier_uniform_(self.content_proj.weight)

    def forward(self, img_feats: list[Tensor], cameras: dict[str, Tensor]) -> QuerySet:
        """Select. Cells of missing cameras come last: chosen only if no others are left, and then nobody looks at them.

        Args:
            img_feats: One ``(B, N, C, Hl, Wl)`` per level.
            cameras: What the encoding needs.

        Raises:
            ValueError: If there are fewer than Q cells.
        """
        placed = [feat + encoding for feat, encoding in zip(img_feats, self.positional_encoding(img_feats, cameras))]
        cells = torch.cat([level.permute(0, 1, 3, 4, 2).flatten(1, 3) for level in placed], dim=1)  # (B, K, C)
        if cells.shape[1] < self.num_queries:
            raise ValueError(f'SelectedSceneQueries was asked for num_queries={self.num_queries}, but the images have '
                             f'only {cells.shape[1]} feature cells. Lower num_queries, or give larger images.')
        cells = self.feature_norm(cells)
        scores, missing = self.score(cells).squeeze(-1), missing_cells(cameras, cells.shape[1] // placed[0].shape[1])
        if missing is not None:
            scores = scores.masked_fill(missing, float('-inf'))
        scores, chosen = scores.topk(self.num_queries)  # (B, Q), best first
        cells = cells.gather(1, chosen[..., None].expand(-1, -1, self.embed_dims))
        content = scores.sigmoid()[..., None] * self.content_proj(cells)
        points = self.point_mlp(cells).float().sigmoid()
        query = self.query_embedding.weight.to(content.dtype) + content
        if missing is None:
            return QuerySet(query, points)
        padding = missing.gather(1, chosen)
        return QuerySet(query, points.masked_fill(padding[..., None], 0.5), padding_mask=padding)

    def loss(self, query_set: QuerySet, cameras: dict[str, Tensor], batch_data_samples: list) -> dict[str, Tensor]:
        """None of its own: the heads' losses reach the score."""
        return {}
