"""What every kind of scene queries returns."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor


class QuerySet(NamedTuple):
    """Q queries a sample, as they enter the decoder.

    Scene queries are a module called with ``(img_feats, cameras)``, as positional encodings are (see
    ``positional_encoding/``), so that queries may depend on what the cameras show. It has

    - ``num_queries``: Q, or the largest Q where it depends on the number of cameras, and ``embed_dims``;
    - ``group_names``, only where the queries are in named groups: the names, known before any image is seen;
    - ``num_tokens``, only where fewer queries become scene tokens than enter the decoder (``token_groups``);
    - ``loss(query_set, cameras, batch_data_samples) -> dict``: losses of its own, for modules that predict something
      to choose their queries; an empty dict otherwise.
    """

    query: Tensor  # (B, Q, C), content
    reference_points: Tensor  # (B, Q, 3) in [0, 1], fractions of the heads' point_cloud_range (LiDAR frame)
    attn_mask: Tensor | None = None  # (Q, Q) bool, True where the query of the row must not see that of the column
    groups: Mapping[str, slice] = MappingProxyType({})  # names of ranges of queries, in which heads may take part
    proposals: Any = None  # what the module needs for its own loss
    token_groups: tuple[str, ...] | None = None  # groups that become scene tokens, in this order; None: all queries
    padding_mask: Tensor | None = None  # (B, Q) bool, True at queries of missing cameras, at which no query looks

    def group(self, name: str | None) -> slice:
        """Which queries a group is; all for None.

        Raises:
            ValueError: If there is no such group; names those that there are.
        """
        if name is None:
            return slice(0, self.query.shape[1])
        check_query_group(name, self.groups)
        return self.groups[name]

    def tokens(self, states: Tensor) -> Tensor:
        """The states ``(B, Q, C)`` of those queries that become scene tokens."""
        if self.token_groups is None:
            return states
        return torch.cat([states[:, self.group(name)] for name in self.token_groups], dim=1)


def check_query_group(name: str | None, groups: Iterable[str]) -> None:
    """A part may ask for one of the groups, or for all queries by None.

    Raises:
        ValueError: If there is no such group; names those that there are.
    """
    groups = tuple(groups)
    if name is not None and name not in groups:
        there = ', '.join(map(repr, groups)) or 'none: they are one unnamed set'
        raise ValueError(f'A part asks for query_group={name!r}, but the groups of scene_queries are {there}. Name '
                         'one of these, leave query_group=None for all queries, or add the group with '
                         "scene_queries=dict(type='GroupedSceneQueries', groups=...).")
