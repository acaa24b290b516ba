"""2D reference points in every camera, for attention that cannot project: mmcv's ``MultiScaleDeformableAttention``."""
from __future__ import annotations

import torch
from mmcv.ops import MultiScaleDeformableAttention
from mmengine.model import BaseModule
from torch import Tensor, nn

from .surround_sampling import MMCV_HAS_CUDA


def wants_camera_points(attention: nn.Module) -> bool:
    """Whether an attention module takes 2D reference points a level instead of the decoder's 3D ones.

    The one place where this is decided, on the built module, so that it holds however a config names the class. Of the
    classes that work in the decoder only mmcv's deformable one, or a class derived from it, does: global attention
    ignores reference points, ours project the 3D ones.
    """
    return isinstance(attention, MultiScaleDeformableAttention)


class CameraReferencePoints(BaseModule):
    """One learned 2D reference point a query and camera, predicted from the query's position.

    A linear layer and a sigmoid, as in Deformable DETR (Zhu et al., arXiv 2010.04159, section 4.1 and appendix A.2),
    with two outputs for each camera. The L feature levels of one camera share its point. Nothing tells where the
    cameras are: which part of which image a position in space belongs to is learned, so the rig must stay the same.

    Args:
        embed_dims: Channels C of the query positions.
        num_cameras: Cameras N of the rig.
        num_levels: Levels N*L of the attention: cameras x feature levels.

    Raises:
        ValueError: If ``num_levels`` is no multiple of ``num_cameras``.
    """

    def __init__(self, embed_dims: int, num_cameras: int, num_levels: int) -> None:
        super().__init__()
        if num_levels % num_cameras:
            raise ValueError(
                f'Cameras are the levels of MultiScaleDeformableAttention, but its num_levels={num_levels} is no '
                f'multiple of the {num_cameras} cameras: set num_levels in cross_attn_cfg to cameras x feature levels '
                f'({num_cameras} for one feature level), and num_cameras of the decoder for a rig of another size.')
        self.num_cameras, self.num_levels = num_cameras, num_levels
        self.projection = nn.Linear(embed_dims, num_cameras * 2)

    def init_weights(self) -> None:
        super().init_weights()
        nn.init.xavier_uniform_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)

    def forward(self, query_pos: Tensor) -> Tensor:
        """Predict.

        Args:
            query_pos: ``(B, Q, C)``.

        Returns:
            ``(B, Q, N*L, 2)`` float32 in [0, 1]: fractions of the image's width and height.
        """
        with torch.autocast(query_pos.device.type, enabled=False):  # half precision would miss by pixels
            points = self.projection(query_pos.float()).sigmoid()
        return points.unflatten(-1, (self.num_cameras, 2)).repeat_interleave(self.num_levels // self.num_cameras, dim=2)

    def check_memory(self, value: Tensor, spatial_shapes: Tensor | None) -> None:
        """Raise where the attention cannot work on the memory.

        Args:
            value: ``(B, K, C)``, the memory.
            spatial_shapes: ``(N*L, 2)``, (Hl, Wl) of each camera and level, camera by camera.

        Raises:
            ValueError: If there are no shapes, or they are those of another number of cameras or levels.
            RuntimeError: If the memory is on a CUDA device and mmcv was built without CUDA.
        """
        if value.is_cuda and not MMCV_HAS_CUDA:
            raise RuntimeError('The memory is on a CUDA device, but mmcv was built without CUDA, so its '
                               'MultiScaleDeformableAttention works on a CPU only: build mmcv with CUDA, or use '
                               'SurroundDeformableAttention, which works without.')
        if spatial_shapes is None:
            raise ValueError('MultiScaleDeformableAttention needs spatial_shapes (N*L, 2) and level_start_index '
                             '(N*L,), but got None. SceneQFormer gives them; if you call the decoder yourself, give '
                             'it all that flatten_memory(img_feats, encodings) returns.')
        if len(spatial_shapes) != self.num_levels:
            raise ValueError(
                f'MultiScaleDeformableAttention was built with num_levels={self.num_levels}, but the memory has '
                f'{len(spatial_shapes)} levels (cameras x feature levels): set num_levels={len(spatial_shapes)} in '
                f'cross_attn_cfg, and num_cameras of the decoder, now {self.num_cameras}, to the number of images a '
                'sample.')
        shapes = spatial_shapes.unflatten(0, (self.num_cameras, -1))
        if not torch.equal(shapes, shapes[:1].expand_as(shapes)):
            raise ValueError(
                f'The memory has spatial_shapes {spatial_shapes.tolist()}, which is not {self.num_cameras} times the '
                f'same {shapes.shape[1]} levels: set num_cameras of the decoder to the number of images a sample.')
