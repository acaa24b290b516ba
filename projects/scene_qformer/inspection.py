"""Looking inside a trained model: what each query of a frame predicts and where it looks."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import Tensor

from .geometry import project
from .models import record_attention
from .models.attention_maps import AttentionRecording
from .models.scene_qformer import DecodedQueries
from .visualization import QueryLook


@dataclass(frozen=True)
class InspectedFrame:
    """One frame as the queries of a model see it."""

    predictions: InstanceData  # bboxes_3d, labels_3d, scores_3d: one of each detecting query, in their order
    first_query: int  # index of the first detecting query among all
    reference_points: np.ndarray  # (Q, 3) of all queries as they enter the layer, in the LiDAR frame, metres
    attention: AttentionRecording
    layer: int
    metainfo: dict  # of the data sample
    image_size: tuple[int, int]  # width, height of the network's images

    def prediction(self, query: int) -> InstanceData | None:
        """What a query predicts, with one entry; None if it is none of the detecting ones."""
        index = query - self.first_query
        return self.predictions[index:index + 1] if 0 <= index < len(self.predictions) else None

    def look(self, query: int) -> QueryLook:
        """Where a query looked."""
        device = self.attention.inputs(self.layer)['query'].device
        maps = self.attention.maps(self.layer, queries=torch.tensor([query], device=device))
        cameras = self.metainfo['cam_names']
        pixels, seen = self._pixels(query)
        image_maps = self.metainfo['cam2img'] @ np.linalg.inv(self.metainfo['ori_cam2img'])
        return QueryLook(
            maps={name: [level[0, 0, index].cpu().numpy() for level in maps] for index, name in enumerate(cameras)},
            points={name: pixels[index] for index, name in enumerate(cameras) if seen[index]},
            image_maps={name: image_maps[index, :3, :3] for index, name in enumerate(cameras)},
            image_size=self.image_size)

    @property
    def layer_name(self) -> str:
        """Such as ``3 of 3``, among the layers with cross-attention."""
        total = len(self.attention.layers)
        return f'{self.layer % total + 1} of {total}'

    @property
    def _camera_points(self) -> Tensor | None:
        """``(B, Q, N*L, 2 or 4)`` where the attention has a point of its own for each camera and level."""
        points = self.attention.inputs(self.layer).get('reference_points')
        return None if points is None or points.dim() == 3 else points

    def _pixels(self, query: int) -> tuple[np.ndarray, np.ndarray]:
        """Pixel (N, 2) of the query's point in each of the network's images, and whether it is there (N,)."""
        size, camera_points = np.array(self.image_size), self._camera_points
        if camera_points is None:
            pixels, _, in_front = project(self.reference_points[query:query + 1], self.metainfo['lidar2img'])
            pixels, in_front = pixels[:, 0], in_front[:, 0]
        else:  # levels of a camera share one
            points = camera_points[0, query, :, :2].float().cpu().numpy()
            pixels = points[::len(points) // len(self.metainfo['cam_names'])] * size
            in_front = np.ones(len(pixels), dtype=bool)
        return pixels, in_front & ((pixels >= 0) & (pixels < size)).all(-1)


@torch.inference_mode()
def inspect_frame(model: BaseModel, inputs: Mapping, layer: int = -1) -> InspectedFrame:
    """Run a detector on one frame and keep what each query does.

    Args:
        model: A scene Q-Former with a detection head.
        inputs: ``dataset[index]`` of a dataset with its test pipeline.
        layer: The layer whose attention is asked for, of those with cross-attention; negative ones from the last.

    Raises:
        ValueError: If the model has no detection head.
        IndexError: If there is no such layer.
    """
    head = model.bbox_head
    if head is None:
        raise ValueError('To look at queries, their boxes are needed, but the model has no bbox_head.')
    batch = model.data_preprocessor(pseudo_collate([inputs]), training=False)
    imgs, metainfo = batch['inputs']['imgs'], batch['data_samples'][0].metainfo
    with record_attention(model) as attention:
        decoded = model.decode_queries(imgs, [metainfo])
    group = decoded.query_set.group(head.query_group)
    cls_scores, codes = head(decoded.queries[-1:, :, group], decoded.reference_points[-1:, :, group])
    scores, labels = cls_scores[-1, 0].sigmoid().max(-1)
    boxes = head.bbox_coder.decode_boxes(codes[-1, 0])
    predictions = InstanceData(
        bboxes_3d=metainfo['box_type_3d'](boxes.cpu(), box_dim=boxes.shape[-1], origin=(0.5, 0.5, 0.5)),
        scores_3d=scores.cpu(),
        labels_3d=labels.cpu())
    points = points_before_layer(decoded, attention, layer)
    low, high = head.point_cloud_range.split(3)
    return InspectedFrame(
        predictions=predictions,
        first_query=group.start or 0,
        reference_points=(low + points[0].float() * (high - low)).cpu().numpy().astype(np.float64),
        attention=attention,
        layer=layer,
        metainfo=metainfo,
        image_size=(imgs.shape[-1], imgs.shape[-2]))


def points_before_layer(decoded: DecodedQueries, attention: AttentionRecording, layer: int = -1) -> Tensor:
    """The points with which queries enter a layer: those that they look from.

    Args:
        decoded: What the decoder gave.
        attention: Recorded meanwhile.
        layer: One of those with cross-attention; negative ones count from the last.

    Returns:
        ``(B, Q, 3)`` in [0, 1].

    Raises:
        IndexError: If there is no such layer.
    """
    attention.inputs(layer)  # names the layers, should there be none such
    # Where points move, every layer has cross-attention; where some have none, as in BLIP-2's decoder, all points are
    # alike. So counting the layers with cross-attention serves both.
    index = range(len(attention.layers))[layer]
    return decoded.reference_points[index - 1] if index else decoded.query_set.reference_points


def choose_queries(predictions: InstanceData, num: int) -> list[int]:
    """Queries worth a look: the most confident one of each class, the surest class first; then spread over the scene.

    Args:
        predictions: ``bboxes_3d``, ``labels_3d`` and ``scores_3d``, one of each query.
        num: How many are wanted.

    Returns:
        Indices; fewer than ``num`` if there are no more queries.
    """
    order = predictions.scores_3d.argsort(descending=True)
    labels, places = predictions.labels_3d, predictions.bboxes_3d.gravity_center[:, :2]
    chosen: list[int] = []
    for query in order.tolist():
        if len(chosen) < num and all(labels[query] != labels[other] for other in chosen):
            chosen.append(query)
    rest = [query for query in order.tolist() if query not in chosen][:10 * num]  # the confident ones of the rest
    while len(chosen) < num and rest:
        distances = torch.cdist(places[rest], places[chosen]).min(dim=1).values if chosen else torch.zeros(len(rest))
        chosen.append(rest.pop(int(distances.argmax())))
    return chosen
