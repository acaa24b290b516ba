"""One set of learned queries for everything."""
from __future__ import annotations

import torch
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from .query_set import QuerySet


@MODELS.register_module()
class SceneQueries(BaseModule):
    """Unified scene queries: learned content, and a learned 3D reference point each.

    One set serves every head and the language model; nothing says which query is for what. The reference points start
    spread over the ground plan (a Sobol sequence, which leaves neither gaps nor clusters) and at half height.

    Args:
        num_queries: Number Q of queries.
        embed_dims: Channels C.
        concentration: How much denser the points start in the middle, around the vehicle, where objects are seen best:
            an even spread over [-1, 1] is raised to this power on both axes. 1 keeps it even.
        init_cfg: mmengine's initialisation config, applied last; ``Blip2QueryTokensInit`` takes BLIP-2's queries.

    Attributes:
        first_point: How many points of the Sobol sequence belong to others; 0 for queries that stand alone. Set by
            :class:`GroupedSceneQueries`, so that its groups do not start at the same points.
    """

    def __init__(self,
                 num_queries: int = 512,
                 embed_dims: int = 256,
                 concentration: float = 1.,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.first_point = 0
        self.concentration = concentration
        self.num_queries = num_queries
        self.embed_dims = embed_dims
        self.query_embedding = nn.Embedding(num_queries, embed_dims)
        self.reference_points = nn.Embedding(num_queries, 3)

    def init_weights(self) -> None:
        nn.init.normal_(self.query_embedding.weight, std=0.02)
        sequence = torch.quasirandom.SobolEngine(2, scramble=True, seed=0)
        if self.first_point:  # the engine cannot go forward by nothing
            sequence.fast_forward(self.first_point)
        even = sequence.draw(self.num_queries) * 2 - 1
        with torch.no_grad():
            self.reference_points.weight[:, :2] = (even.sign() * even.abs()**self.concentration + 1) / 2
            self.reference_points.weight[:, 2] = 0.5
        super().init_weights()  # last, or it would be overwritten

    def forward(self, img_feats: list[Tensor], cameras: dict[str, Tensor]) -> QuerySet:
        """Give every sample of the batch the same queries.

        Args:
            img_feats: One ``(B, N, C, Hl, Wl)`` per level; only B is read.
            cameras: Not used.
        """
        batch_size = len(img_feats[0])
        query = self.query_embedding.weight.expand(batch_size, -1, -1)
        return QuerySet(query, self.reference_points.weight.clamp(0, 1).expand(batch_size, -1, -1))

    def loss(self, query_set: QuerySet, cameras: dict[str, Tensor], batch_data_samples: list) -> dict[str, Tensor]:
        """None of its own."""
        return {}
