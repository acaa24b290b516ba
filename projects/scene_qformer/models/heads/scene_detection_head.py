"""Auxiliary 3D detection on the scene queries."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet3d.registry import MODELS, TASK_UTILS
from mmengine.model import BaseModule, bias_init_with_prob
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...geometry import from_ray_frame
from ...joint_batch import joint_normalizer

CODE_WEIGHTS = (1., 1., 1., 1., 1., 1., 1., 1., 0.2, 0.2)


@MODELS.register_module()
class SceneDetectionHead(BaseModule):
    """Set prediction of 3D boxes from every scene query, after every decoder layer.

    Each query predicts class scores and one box relative to its reference point. Predictions and objects are matched
    one to one by the Hungarian algorithm (DETR, Carion et al., arXiv 2005.12872); unmatched queries learn
    "no object". Losses follow DETR3D: focal loss on classes, L1 on codes, at each layer.

    Args:
        num_classes: Number of classes.
        embed_dims: Channels C of the queries.
        point_cloud_range: ``(x_min, y_min, z_min, x_max, y_max, z_max)`` metres, LiDAR frame: the space that
            reference points in [0, 1] span.
        bbox_coder: Config of the box coder.
        assigner: Config of mmdet's assigner.
        loss_cls: Config of the classification loss.
        loss_bbox: Config of the regression loss.
        code_weights: Weight of each of the 10 codes in the regression loss.
        ray_aligned: Let the branches predict offsets, headings and velocities along and across the ray to the
            reference point instead of along x and y. What they predict then depends on what a camera shows and not on
            where it looks, which needs far fewer frames to learn.
        sync_cls_avg_factor: Divide by the objects of all processes, so that their average is the joint batch's loss.
        query_group: Name of the group of scene queries that detect; the detector hands this head no others. None: all.
    """

    def __init__(self,
                 num_classes: int = 10,
                 embed_dims: int = 256,
                 point_cloud_range: Sequence[float] = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0),
                 bbox_coder: dict | None = None,
                 assigner: dict | None = None,
                 loss_cls: dict | None = None,
                 loss_bbox: dict | None = None,
                 code_weights: Sequence[float] = CODE_WEIGHTS,
                 ray_aligned: bool = False,
                 sync_cls_avg_factor: bool = True,
                 query_group: str | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.query_group = query_group
        self.num_classes = num_classes
        self.ray_aligned = ray_aligned
        self.sync_cls_avg_factor = sync_cls_avg_factor
        self.bbox_coder = TASK_UTILS.build(
            bbox_coder or dict(type='NMSFreeBBoxCoder', post_center_range=[-61.2, -61.2, -10.0, 61.2, 61.2, 10.0]))
        self.assigner = TASK_UTILS.build(assigner or dict(
            type='mmdet.HungarianAssigner',
            match_costs=[dict(type='mmdet.FocalLossCost', weight=2.0),
                         dict(type='mmdet3d.BBox3DL1Cost', weight=0.25)]))
        self.loss_cls = MODELS.build(loss_cls or dict(
            type='mmdet.FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=2.0))
        self.loss_bbox = MODELS.build(loss_bbox or dict(type='mmdet.L1Loss', loss_weight=0.25))
        code_size = self.bbox_coder.code_size
        if len(code_weights) != code_size:
            raise ValueError(f'code_weights needs {code_size} numbers, one a code, got {len(code_weights)}.')
        self.register_buffer('code_weights', torch.tensor(code_weights), persistent=False)
        self.register_buffer('point_cloud_range', torch.tensor(point_cloud_range), persistent=False)
        self.cls_branch = self._branch(embed_dims, num_classes)
        self.reg_branch = self._branch(embed_dims, code_size)

    @staticmethod
    def _branch(embed_dims: int, out_channels: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [nn.Linear(embed_dims, embed_dims), nn.LayerNorm(embed_dims), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(embed_dims, out_channels))

    def init_weights(self) -> None:
        super().init_weights()
        # Every query starts by saying "no object", and with a box at its reference point.
        nn.init.constant_(self.cls_branch[-1].bias, bias_init_with_prob(0.01))
        nn.init.zeros_(self.reg_branch[-1].weight)
        nn.init.zeros_(self.reg_branch[-1].bias)

    def forward(self, queries: Tensor, reference_points: Tensor) -> tuple[Tensor, Tensor]:
        """Predict from the queries of every layer.

        Args:
            queries: ``(num_layers, B, Q, C)``.
            reference_points: ``(num_layers, B, Q, 3)`` in [0, 1], to which the boxes are relative.

        Returns:
            Logits ``(num_layers, B, Q, num_classes)`` and codes ``(num_layers, B, Q, 10)``, float32; centres in
            metres in the LiDAR frame.
        """
        cls_scores = self.cls_branch(queries).float()
        codes = self.reg_branch(queries).float()
        low, high = self.point_cloud_range.split(3)
        # Offsets are metres. In PETR's logits a metre is about 0.04, and each step of Adam would shake it by more.
        origin = low + reference_points.float() * (high - low)
        if self.ray_aligned:
            codes = self._from_ray_frame(codes, origin)
        return cls_scores, torch.cat((origin + codes[..., :3], codes[..., 3:]), dim=-1)

    @staticmethod
    def _from_ray_frame(codes: Tensor, origin: Tensor) -> Tensor:
        """Turn offset, heading and velocity of ``(..., 10)`` codes from the rays to ``(..., 3)`` to the LiDAR frame."""
        offset, height, size, sine, cosine, velocity = codes.split((2, 1, 3, 1, 1, 2), dim=-1)
        rays = origin[..., :2].detach()
        cosine, sine = from_ray_frame(torch.cat((cosine, sine), dim=-1), rays).split(1, dim=-1)
        return torch.cat((from_ray_frame(offset, rays), height, size, sine, cosine, from_ray_frame(velocity, rays)),
                         dim=-1)

    def loss(self, queries: Tensor, reference_points: Tensor, batch_data_samples: list) -> dict[str, Tensor]:
        """Losses of every layer.

        Args:
            queries: ``(num_layers, B, Q, C)``.
            reference_points: ``(num_layers, B, Q, 3)``.
            batch_data_samples: B data samples with ``gt_instances_3d`` (``bboxes_3d`` with velocity, ``labels_3d``).

        Returns:
            ``loss_cls`` and ``loss_bbox`` of the last layer, ``d0.loss_cls`` ... of the ones before.
        """
        cls_scores, codes = self(queries, reference_points)
        targets = [self._targets(sample, codes) for sample in batch_data_samples]
        losses = {}
        for prefix, layer_scores, layer_codes in zip(_layer_prefixes(len(queries)), cls_scores, codes):
            objects = [self._match(scores, code, target)
                       for scores, code, target in zip(layer_scores, layer_codes, targets)]
            losses[f'{prefix}loss_cls'], losses[f'{prefix}loss_bbox'] = self._layer_loss(
                layer_scores, layer_codes, targets, torch.stack(objects))
        return losses

    def denoising_loss(self, queries: Tensor, reference_points: Tensor, object_index: Tensor,
                       batch_data_samples: list) -> dict[str, Tensor]:
        """Losses of denoising queries, whose objects are known; see :class:`QueryDenoising`.

        Args:
            queries: ``(num_layers, B, D, C)``.
            reference_points: ``(num_layers, B, D, 3)``.
            object_index: ``(B, D)`` int64, index of the object; -1 for padding.
            batch_data_samples: As in :meth:`loss`.

        Returns:
            ``dn_loss_cls`` and ``dn_loss_bbox`` of the last layer, ``d0.dn_loss_cls`` ... of the ones before.
        """
        cls_scores, codes = self(queries, reference_points)
        targets = [self._targets(sample, codes) for sample in batch_data_samples]
        losses = {}
        for prefix, layer_scores, layer_codes in zip(_layer_prefixes(len(queries)), cls_scores, codes):
            losses[f'{prefix}dn_loss_cls'], losses[f'{prefix}dn_loss_bbox'] = self._layer_loss(
                layer_scores, layer_codes, targets, object_index, counted=object_index >= 0)
        return losses

    def _targets(self, data_sample, like: Tensor) -> InstanceData:
        """The objects of one sample: ``labels`` (G,), coded ``bboxes`` (G, 10)."""
        gt_instances = data_sample.gt_instances_3d
        boxes = gt_instances.bboxes_3d
        if boxes.box_dim != 9:
            token = data_sample.metainfo.get('sample_token', '?')
            raise ValueError(
                f'SceneDetectionHead needs boxes with velocity (9 numbers), but gt_instances_3d of sample {token} has '
                f'{boxes.box_dim}: set with_velocity=True in the dataset.')
        gravity_boxes = torch.cat((boxes.gravity_center, boxes.tensor[:, 3:]), dim=-1).to(like)
        return InstanceData(labels=gt_instances.labels_3d.to(like.device), bboxes=self.bbox_coder.encode(gravity_boxes))

    @torch.no_grad()
    def _match(self, cls_scores: Tensor, codes: Tensor, target: InstanceData) -> Tensor:
        """The object ``(Q,)`` that each query of one sample is to predict; -1 for none."""
        # The matching must survive NaN: the losses, computed from the numbers as they are, report it.
        assigned = self.assigner.assign(
            InstanceData(scores=cls_scores.nan_to_num(), bboxes=codes.nan_to_num()),
            InstanceData(labels=target.labels, bboxes=target.bboxes.nan_to_num()),
            img_meta=None)
        return assigned.gt_inds - 1

    def _layer_loss(self,
                    cls_scores: Tensor,
                    codes: Tensor,
                    targets: list[InstanceData],
                    objects: Tensor,
                    counted: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Classification and regression loss of one layer.

        Args:
            cls_scores: ``(B, Q, num_classes)`` logits.
            codes: ``(B, Q, 10)``.
            targets: Objects of each sample.
            objects: ``(B, Q)`` int64, the object of each query; -1 for none.
            counted: ``(B, Q)`` bool, the queries that count in the classification loss; all by default.
        """
        matched = objects >= 0
        labels = torch.full_like(objects, self.num_classes)
        wanted = []
        for index, target in enumerate(targets):
            chosen = objects[index, matched[index]]
            labels[index, matched[index]] = target.labels[chosen]
            wanted.append(target.bboxes[chosen])
        predicted, wanted_codes = codes[matched], torch.cat(wanted)
        if counted is not None:
            cls_scores, labels = cls_scores[counted][None], labels[counted]

        num_objects = len(wanted_codes)
        avg_factor = joint_normalizer(num_objects) if self.sync_cls_avg_factor else max(num_objects, 1)
        loss_cls = self.loss_cls(cls_scores.flatten(0, 1), labels.flatten(), avg_factor=avg_factor)
        # An empty sum still hangs on the graph: all parameters get a (zero) gradient in samples without objects.
        loss_bbox = self.loss_bbox(
            predicted, wanted_codes, self.code_weights.expand_as(wanted_codes), avg_factor=avg_factor)
        return loss_cls, loss_bbox

    @torch.no_grad()
    def predict(self, queries: Tensor, reference_points: Tensor, batch_input_metas: list[dict]) -> list[InstanceData]:
        """Boxes of the last layer.

        Args:
            queries: ``(num_layers, B, Q, C)``; only the last layer is decoded.
            reference_points: ``(num_layers, B, Q, 3)``.
            batch_input_metas: B dicts with ``box_type_3d``.

        Returns:
            B ``InstanceData`` with ``bboxes_3d`` (LiDAR frame, 9 numbers, origin at the bottom centre), ``scores_3d``
            (descending) and ``labels_3d``.

        Raises:
            FloatingPointError: If a score or a code is not finite; names the samples. Such boxes would be left out as
                if they were far away.
        """
        cls_scores, codes = self(queries[-1:], reference_points[-1:])
        finite = (cls_scores[-1].isfinite().flatten(1).all(1) & codes[-1].isfinite().flatten(1).all(1)).tolist()
        if not all(finite):
            bad = [str(meta.get('sample_token', '?')) for meta, good in zip(batch_input_metas, finite) if not good]
            raise FloatingPointError(f'Scores or boxes of sample {", ".join(bad)} are not finite. Of one sample: look '
                                     'at its images and calibration; of all: the checkpoint holds such numbers, or '
                                     'float16 overflowed.')
        results = []
        for scores, sample_codes, meta in zip(cls_scores[-1], codes[-1], batch_input_metas):
            boxes, box_scores, labels = self.bbox_coder.decode(scores, sample_codes)
            bboxes_3d = meta['box_type_3d'](boxes, box_dim=boxes.shape[-1], origin=(0.5, 0.5, 0.5))
            results.append(InstanceData(bboxes_3d=bboxes_3d, scores_3d=box_scores, labels_3d=labels))
        return results


def _layer_prefixes(num_layers: int) -> list[str]:
    """mmdet's names: ``d0.``, ``d1.`` ... and nothing for the last layer."""
    return [f'd{layer}.' for layer in range(num_layers - 1)] + ['']
