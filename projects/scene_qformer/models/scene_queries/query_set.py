"""What every kind of scene queries returns."""
from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor


class QuerySet(NamedTuple):
    """Q queries a sample, as they enter the decoder.

    Scene queries are a module called with ``(img_feats, cameras)``, as positional encodings are (see
    ``positional_encoding.py``), so that queries may depend on what the cameras show. It has

    - ``num_queries``: Q, or the largest Q where it depends on the number of cameras, and ``embed_dims``;
    - ``loss(query_set, cameras, batch_data_samples) -> dict``: losses of its own, for modules that predict something
      to choose their queries; an empty dict otherwise.
    """

    query: Tensor  # (B, Q, C), content
    reference_points: Tensor  # (B, Q, 3) in [0, 1], fractions of the heads' point_cloud_range (LiDAR frame)
    attn_mask: Tensor | None = None  # (Q, Q) bool, True where the query of the row must not see that of the column
    groups: Mapping[str, slice] = MappingProxyType({})  # names of ranges of queries, in which heads may take part
    proposals: Any = None  # what the module needs for its own loss
