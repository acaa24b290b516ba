"""Which cells of the image features show the centre of an object, and how far away it is."""
from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule, bias_init_with_prob
from torch import Tensor, nn

from ...geometry import cell_centers, project, ray_directions, unproject
from ...joint_batch import joint_normalizer
from ..camera_mask import CAMERA_MASK

GAUSSIAN_SHARE = 6  # an object spans this many standard deviations of its spot in the heat map, as in CenterNet
MATRICES = dict(  # which it needs, and what for
    cam2img='measures depth in focal lengths along viewing rays',
    lidar2cam='tells cells how steeply their viewing rays go up',
    lidar2img='takes centres to the images and back to the LiDAR frame')
UNIT_DEPTH = 0.04  # metres a pixel of focal length; an object whose depth code is 0 stands at UNIT_DEPTH * focal length


class ImageCenters(NamedTuple):
    """Dense predictions for N cameras, float32."""

    heatmap: Tensor  # (B, N, num_classes, Hl, Wl), logits
    offset: Tensor  # (B, N, 2, Hl, Wl), from the middle of the cell to the centre, cells
    depth: Tensor  # (B, N, Hl, Wl), metres along the optical axis


class CenterTargets(NamedTuple):
    """What the predictions should be; M (camera, object) pairs over the whole batch."""

    heatmap: Tensor  # (B, N, num_classes, Hl, Wl) in [0, 1]
    cells: tuple[Tensor, Tensor, Tensor, Tensor]  # sample, camera, row and column of each pair, (M,) each
    offset: Tensor  # (M, 2) cells
    depth: Tensor  # (M,) metres


@MODELS.register_module()
class ImageCenterHead(BaseModule):
    """Finds projected 3D centres in each camera: class heat maps, the place within the cell, and the depth.

    Dense supervision of the image features, without any annotation beyond the 3D boxes (CenterNet, Zhou et al.,
    arXiv 1904.07850, section 3). The depth is predicted as its logarithm in units of the focal length, because the same
    picture of an object under twice the focal length means twice the distance. Cells are told their viewing ray, whose
    slope tells how far away the ground is.

    Args:
        num_classes: Number of classes.
        embed_dims: Channels C of the features.
        loss_heatmap: Config of the loss on the heat maps.
        loss_offset: Config of the loss on the place within the cell, in cells.
        loss_depth: Config of the loss on the logarithm of the depth.
        init_cfg: mmengine's initialisation config, e.g. of a checkpoint of :class:`ImageCenterPretraining`.
    """

    def __init__(self,
                 num_classes: int = 10,
                 embed_dims: int = 256,
                 loss_heatmap: dict | None = None,
                 loss_offset: dict | None = None,
                 loss_depth: dict | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.num_classes = num_classes
        self.ray_proj = nn.Linear(4, embed_dims)
        self.shared_conv = nn.Conv2d(embed_dims, embed_dims, 3, padding=1)
        self.heatmap_conv = nn.Conv2d(embed_dims, num_classes, 1)
        self.place_conv = nn.Conv2d(embed_dims, 3, 1)
        self.loss_heatmap = MODELS.build(loss_heatmap or dict(type='mmdet.GaussianFocalLoss', loss_weight=1.0))
        self.loss_offset = MODELS.build(loss_offset or dict(type='mmdet.L1Loss', loss_weight=0.5))
        self.loss_depth = MODELS.build(loss_depth or dict(type='mmdet.L1Loss', loss_weight=2.0))

    def init_weights(self) -> None:
        nn.init.constant_(self.heatmap_conv.bias, bias_init_with_prob(0.01))
        nn.init.zeros_(self.place_conv.weight)
        nn.init.zeros_(self.place_conv.bias)
        super().init_weights()  # last: init_cfg may name weights

    def forward(self, feat: Tensor, cameras: dict[str, Tensor]) -> ImageCenters:
        """Predict.

        Args:
            feat: ``(B, N, C, Hl, Wl)``, one level of image features.
            cameras: ``cam2img`` and ``lidar2cam`` ``(B, N, 4, 4)``, which give the viewing rays and the unit of depth,
                ``image_size`` ``(2,)``, ``camera_mask`` ``(B, N)`` bool where cameras are missing, and ``lidar2img``
                ``(B, N, 4, 4)``. That is read by :meth:`points` and :meth:`targets` only, but asked for here, before
                there is anything to lose.

        Raises:
            ValueError: If a camera matrix is missing.
        """
        for name, purpose in MATRICES.items():
            if name not in cameras:
                raise ValueError(f'ImageCenterHead {purpose} and needs {name} (B, N, 4, 4) in the metas of the data '
                                 'samples, but there is none. Use PackSceneInputs in the pipeline, and call the model '
                                 'with data_samples.')
        feat = feat + self.ray_proj(self._rays(feat, cameras)).permute(0, 1, 4, 2, 3)
        hidden = F.relu(self.shared_conv(feat.flatten(0, 1)))
        heatmap = self.heatmap_conv(hidden).unflatten(0, feat.shape[:2]).float()
        offset, log_depth = self.place_conv(hidden).unflatten(0, feat.shape[:2]).float().split((2, 1), dim=2)
        unit = UNIT_DEPTH * cameras['cam2img'][..., 0, 0, None, None]  # (B, N, 1, 1)
        return ImageCenters(heatmap, offset, unit * log_depth.squeeze(2).clamp(-5, 5).exp())

    @staticmethod
    def _rays(feat: Tensor, cameras: dict[str, Tensor]) -> Tensor:
        """``(B, N, Hl, Wl, 4)``: the viewing ray in the camera's frame, and how steeply it goes up."""
        height, width = feat.shape[-2:]
        pixels = cell_centers(height, width, _stride(feat, cameras), device=feat.device).flatten(0, 1)
        seen_by_camera = ray_directions(pixels, cameras['cam2img'])
        up = ray_directions(pixels, cameras['cam2img'], cameras['lidar2cam'])[..., 2:]
        return torch.cat((seen_by_camera, up), dim=-1).unflatten(2, (height, width))

    @torch.no_grad()
    def points(self, predicted: ImageCenters, cameras: dict[str, Tensor]) -> Tensor:
        """The centre that each cell proposes: ``(B, N, Hl, Wl, 3)``, metres, LiDAR frame."""
        height, width = predicted.depth.shape[-2:]
        stride = _stride(predicted.depth, cameras)
        pixels = cell_centers(height, width, stride, device=predicted.depth.device)
        pixels = pixels + predicted.offset.permute(0, 1, 3, 4, 2) * pixels.new_tensor(stride)
        points = unproject(pixels.flatten(2, 3), predicted.depth.flatten(2), cameras['lidar2img'])
        return points.unflatten(2, (height, width))

    @torch.no_grad()
    def targets(self, predicted: ImageCenters, cameras: dict[str, Tensor], batch_data_samples: list) -> CenterTargets:
        """Project the true objects into the cameras.

        Args:
            predicted: Gives the shapes.
            cameras: As in :meth:`forward`.
            batch_data_samples: B data samples with ``gt_instances_3d``.

        Raises:
            ValueError: If a label is not one of the ``num_classes``.
        """
        height, width = predicted.depth.shape[-2:]
        stride = predicted.depth.new_tensor(_stride(predicted.depth, cameras))
        heatmap = torch.zeros_like(predicted.heatmap)
        camera_mask = cameras.get(CAMERA_MASK)
        rows = torch.arange(height, device=stride.device)
        columns = torch.arange(width, device=stride.device)
        pairs = []
        for index, sample in enumerate(batch_data_samples):
            boxes, labels = sample.gt_instances_3d.bboxes_3d, sample.gt_instances_3d.labels_3d.to(stride.device)
            self._check_labels(labels, sample)
            pixels, depth, visible = project(
                boxes.gravity_center.to(stride), cameras['lidar2img'][index],
                image_size=(int(cameras['image_size'][1]), int(cameras['image_size'][0])))
            if camera_mask is not None:
                visible = visible & camera_mask[index, :, None]
            camera, which = visible.nonzero(as_tuple=True)  # (M,) each
            place, depth = pixels[camera, which] / stride, depth[camera, which]
            cell = place.floor().long()
            column = cell[:, 0].clamp(max=width - 1)  # a padded image may end within a cell
            row = cell[:, 1].clamp(max=height - 1)
            # How many cells an object of this size spans there, seen from its middle.
            size = boxes.dims.to(stride).mean(-1)[which] * cameras['cam2img'][index, camera, 0, 0] / depth / stride[0]
            sigma = (size / GAUSSIAN_SHARE).clamp(min=0.3)[:, None, None]
            spots = torch.exp(-((rows[:, None] - row[:, None, None])**2 + (columns - column[:, None, None])**2)
                              / (2 * sigma**2))
            channel = (camera * self.num_classes + labels[which])[:, None, None].expand_as(spots)
            heatmap[index].flatten(0, 1).scatter_reduce_(0, channel, spots, 'amax')
            offset = place - torch.stack((column, row), dim=-1) - 0.5
            pairs.append((torch.full_like(camera, index), camera, row, column, offset, depth))
        sample_index, camera, row, column, offset, depth = (torch.cat(parts) for parts in zip(*pairs))
        return CenterTargets(heatmap, (sample_index, camera, row, column), offset, depth)

    def _check_labels(self, labels: Tensor, data_sample) -> None:
        """Others would be painted into a class of the camera before or after."""
        wrong = labels[(labels < 0) | (labels >= self.num_classes)].tolist()
        if wrong:
            raise ValueError(
                f'ImageCenterHead has classes 0 to {self.num_classes - 1}, but gt_instances_3d of sample '
                f"{data_sample.metainfo.get('sample_token', '?')} has the label {wrong[0]}. -1 marks objects of no "
                'known class: drop them with ObjectNameFilter in the pipeline. A larger label means that num_classes '
                "is not the number of the dataset's classes.")

    def loss(self, predicted: ImageCenters, cameras: dict[str, Tensor],
             batch_data_samples: list) -> dict[str, Tensor]:
        """Losses ``loss_heatmap``, ``loss_offset`` and ``loss_depth``; arguments as in :meth:`targets`.

        Each is a sum over the number of centres, that of all processes: see :func:`~...joint_batch.joint_normalizer`.
        Missing cameras have no part in them. ``loss_heatmap`` must take a ``weight``, as mmdet's losses do.
        """
        targets = self.targets(predicted, cameras, batch_data_samples)
        sample, camera, row, column = targets.cells
        num_centers = joint_normalizer(len(targets.depth))
        weights = {}  # not weight=None: without missing cameras, a loss need not know the word
        if CAMERA_MASK in cameras:
            there = cameras[CAMERA_MASK][:, :, None, None, None]
            weights['weight'] = there.to(predicted.heatmap.dtype).expand_as(predicted.heatmap)
        offset = predicted.offset[sample, camera, :, row, column]
        log_depth = predicted.depth[sample, camera, row, column].log()
        return dict(
            loss_heatmap=self.loss_heatmap(predicted.heatmap.sigmoid(), targets.heatmap, avg_factor=num_centers,
                                           **weights),
            loss_offset=self.loss_offset(offset, targets.offset, avg_factor=num_centers),
            loss_depth=self.loss_depth(log_depth, targets.depth.log(), avg_factor=num_centers))


def _stride(feat: Tensor, cameras: dict[str, Tensor]) -> tuple[float, float]:
    """Pixels a cell along u and v."""
    width, height = cameras['image_size'].tolist()
    return width / feat.shape[-1], height / feat.shape[-2]
