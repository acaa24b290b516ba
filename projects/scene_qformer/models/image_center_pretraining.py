"""The image branch alone, taught to find projected object centres and their depth."""
from __future__ import annotations

from mmdet3d.models.detectors import Base3DDetector
from mmdet3d.registry import MODELS
from torch import Tensor

from ..finite_losses import check_finite_losses
from .camera_mask import read_camera_mask
from .surround_memory import extract_surround_feats, stack_cameras


@MODELS.register_module()
class ImageCenterPretraining(Base3DDetector):
    """Backbone and neck under the dense supervision of :class:`ImageCenterHead`, before any query reads them.

    Its parts have the names that they have in :class:`SceneQFormer`, so that model's ``load_from`` takes the
    checkpoint: backbone and neck start there, all else from nothing. Camera detectors often start from a backbone that
    was taught depth (DD3D, Park et al., arXiv 2108.06417); this is the way to one without any other data set.

    Args:
        backbone: Image backbone, as the detector's.
        center_head: Config of the :class:`ImageCenterHead`.
        neck: As the detector's; None for none.
        data_preprocessor: As in any mmdet3d detector.
        init_cfg: mmengine's initialisation config.
    """

    def __init__(self,
                 backbone: dict,
                 center_head: dict,
                 neck: dict | None = None,
                 data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck) if neck else None
        self.center_head = MODELS.build({'type': 'ImageCenterHead', **center_head})

    def extract_feat(self, imgs: Tensor, camera_mask: Tensor | None = None) -> list[Tensor]:
        """Image features ``(B, N, C, Hl, Wl)``, finest level first, of ``imgs (B, N, 3, H, W)``; 0 where masked."""
        return extract_surround_feats(self.backbone, self.neck, imgs, camera_mask)

    def _forward(self, inputs: dict | Tensor, data_samples: list | None = None, **kwargs) -> list[Tensor]:
        """Mode ``tensor``: the image features."""
        return self.extract_feat(inputs if isinstance(inputs, Tensor) else inputs['imgs'])

    def loss(self, inputs: dict, data_samples: list, **kwargs) -> dict[str, Tensor]:
        """Mode ``loss``: the dense head's, on the finest level, all finite.

        Raises:
            NonFiniteLossError: If one is not.
        """
        metas = [sample.metainfo for sample in data_samples]
        camera_mask = read_camera_mask(metas, inputs['imgs'].shape[1])
        cameras = stack_cameras(metas, inputs['imgs'], camera_mask)
        centers = self.center_head(self.extract_feat(inputs['imgs'], camera_mask)[0], cameras)
        losses = self.center_head.loss(centers, cameras, data_samples)
        check_finite_losses(losses, data_samples)
        return losses

    def predict(self, inputs: dict, data_samples: list, **kwargs) -> list:
        """There are no boxes.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError('ImageCenterPretraining has no boxes to predict: it teaches backbone and neck. Train '
                           'without validation (val_cfg=None, val_dataloader=None, val_evaluator=None), then train a '
                           'SceneQFormer with load_from=<its checkpoint>.')
