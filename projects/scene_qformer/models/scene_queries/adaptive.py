"""Learned queries that a first look at the images adapts."""
from __future__ import annotations

from mmdet3d.registry import MODELS
from torch import Tensor, nn

from ..attention import GlobalAttention
from ..camera_mask import missing_cells
from .pooling import pool_cameras
from .query_set import QuerySet
from .unified import SceneQueries


@MODELS.register_module()
class AdaptiveSceneQueries(SceneQueries):
    """Scene queries whose content depends on what the cameras show, before the decoder starts.

    Every camera's features are pooled to a coarse grid; each learned query attends to the cells of all cameras, and
    what it finds is added to it::

        content = embedding + attention(LayerNorm(embedding), LayerNorm(pooled cells))

    The first decoder layer then asks for what this scene has, not for what scenes have on average. (That queries
    computed from pooled image features help was shown with convex combinations of learned queries: Cui et al., arXiv
    2307.12239. Attention gives each query its own combination, of features.) The attention's output projection starts
    at zero, so that training begins with the learned queries: what all of them found at first would be nearly the same,
    and thirty times as large as what sets them apart. Reference points are learned, as in :class:`SceneQueries`. Cells
    carry no position, so the order of the cameras does not matter.

    Args:
        num_queries: Number Q of queries.
        embed_dims: Channels C.
        concentration: As in :class:`SceneQueries`.
        grid: Rows and columns to which each camera is pooled.
        num_heads: Heads of the attention; must divide C.
    """

    def __init__(self,
                 num_queries: int = 512,
                 embed_dims: int = 256,
                 concentration: float = 1.,
                 grid: tuple[int, int] = (3, 3),
                 num_heads: int = 8) -> None:
        super().__init__(num_queries, embed_dims, concentration)
        self.grid = (grid[0], grid[1])
        self.query_norm = nn.LayerNorm(embed_dims)  # embeddings start so small that all would attend alike
        self.feature_norm = nn.LayerNorm(embed_dims)  # features of any backbone come in at the same size
        self.attention = GlobalAttention(embed_dims, num_heads)

    def init_weights(self) -> None:
        super().init_weights()
        nn.init.zeros_(self.attention.attn.out_proj.weight)

    def forward(self, img_feats: list[Tensor], cameras: dict[str, Tensor]) -> QuerySet:
        """Adapt the queries to every sample.

        Args:
            img_feats: One ``(B, N, C, Hl, Wl)`` per level; the last, coarsest one is read.
            cameras: Of them, only ``camera_mask`` is read.
        """
        learned = super().forward(img_feats, cameras)
        cells = self.feature_norm(pool_cameras(img_feats[-1], self.grid).flatten(1, 2))  # (B, N*R*S, C)
        return learned._replace(query=self.attention(
            self.query_norm(learned.query), cells, identity=learned.query,
            key_padding_mask=missing_cells(cameras, self.grid[0] * self.grid[1])))
