"""How :class:`SurroundDeformableAttention` samples the cameras: by which operator. Chosen in its ``operator``.

All are called alike and add up what the cameras that see a query's point show around it. The mathematics, and the
shapes, are those of :func:`scene_qformer.ops.reference_surround_attention`.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from mmcv.ops import get_compiling_cuda_version
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction, multi_scale_deformable_attn_pytorch
from mmdet3d.registry import MODELS
from torch import Tensor, nn

from ..ops import reference_surround_attention, triton_surround_attention, vectorized_deformable_attention

# mmcv may be built without CUDA on a machine that has it
MMCV_HAS_CUDA = get_compiling_cuda_version() != 'not available'


class CameraLevels(NamedTuple):
    """The feature levels of one camera, for operators that read them on the device and for those that do not."""

    spatial_shapes: Tensor  # (L, 2) int64, (Hl, Wl)
    level_start_index: Tensor  # (L,) int64
    level_shapes: tuple[tuple[int, int], ...] | None  # as spatial_shapes

    def integers(self) -> tuple[tuple[int, int], ...]:
        """The level shapes; where nobody gave them, from the tensor, for which a GPU has to be waited for."""
        if self.level_shapes is not None:
            return self.level_shapes
        return tuple((height, width) for height, width in self.spatial_shapes.tolist())


@MODELS.register_module()
class MMCVSampling(nn.Module):
    """mmcv's operator: its CUDA kernel where there is one, else its PyTorch twin; both in float32 (no bfloat16).

    In every call it waits for the device, to learn how many queries the cameras see at most.
    """

    def forward(self, value: Tensor, levels: CameraLevels, projections: Tensor, visible: Tensor, offsets: Tensor,
                logits: Tensor) -> Tensor:
        """Sample.

        Args:
            value: ``(B, N, K, heads, D)``.
            levels: Those of each camera; K = sum of Hl*Wl.
            projections: ``(B, N, Q, 2)``, fractions of width and height.
            visible: ``(B, N, Q)`` bool.
            offsets: ``(B, Q, heads, L, P, 2)``, in cells of the level.
            logits: ``(B, Q, heads, L * P)``.

        Returns:
            ``(B, Q, heads * D)``.
        """
        def attend(value: Tensor, locations: Tensor, logits: Tensor) -> Tensor:
            weights = logits.float().softmax(-1).view(locations.shape[:-1])
            if value.is_cuda and MMCV_HAS_CUDA:
                im2col_step = math.gcd(64, len(value))  # must divide the batch
                return MultiScaleDeformableAttnFunction.apply(
                    value, levels.spatial_shapes, levels.level_start_index, locations.contiguous(),
                    weights.contiguous(), im2col_step)
            return multi_scale_deformable_attn_pytorch(value, levels.spatial_shapes, locations, weights)

        return sample_visible(attend, value, levels, projections, visible, offsets, logits)


@MODELS.register_module()
class VectorizedSampling(nn.Module):
    """:func:`scene_qformer.ops.vectorized_deformable_attention`, for CPUs, in float32."""

    def forward(self, value: Tensor, levels: CameraLevels, projections: Tensor, visible: Tensor, offsets: Tensor,
                logits: Tensor) -> Tensor:
        """As :meth:`MMCVSampling.forward`."""
        def attend(value: Tensor, locations: Tensor, logits: Tensor) -> Tensor:
            return vectorized_deformable_attention(value, levels.integers(), locations, logits)

        return sample_visible(attend, value, levels, projections, visible, offsets, logits)


@MODELS.register_module()
class DefaultSampling(nn.Module):
    """:class:`VectorizedSampling` on a CPU, :class:`MMCVSampling` elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.on_cpu, self.elsewhere = VectorizedSampling(), MMCVSampling()

    def forward(self, value: Tensor, levels: CameraLevels, projections: Tensor, visible: Tensor, offsets: Tensor,
                logits: Tensor) -> Tensor:
        """As :meth:`MMCVSampling.forward`."""
        sampling = self.on_cpu if value.device.type == 'cpu' else self.elsewhere
        return sampling(value, levels, projections, visible, offsets, logits)


@MODELS.register_module()
class TritonSampling(nn.Module):
    """:func:`scene_qformer.ops.triton_surround_attention`: one kernel for all cameras, for GPUs.

    It never waits for the device, and reads the value in its own dtype, bfloat16 included.
    """

    def forward(self, value: Tensor, levels: CameraLevels, projections: Tensor, visible: Tensor, offsets: Tensor,
                logits: Tensor) -> Tensor:
        """As :meth:`MMCVSampling.forward`."""
        return triton_surround_attention(value, levels.integers(), projections, visible, offsets, logits)


@MODELS.register_module()
class ReferenceSampling(nn.Module):
    """:func:`scene_qformer.ops.reference_surround_attention`, the readable twin; slow, any device."""

    def forward(self, value: Tensor, levels: CameraLevels, projections: Tensor, visible: Tensor, offsets: Tensor,
                logits: Tensor) -> Tensor:
        """As :meth:`MMCVSampling.forward`."""
        return reference_surround_attention(value, levels.integers(), projections, visible, offsets, logits)


def sample_visible(attend: Callable[[Tensor, Tensor, Tensor], Tensor], value: Tensor, levels: CameraLevels,
                   projections: Tensor, visible: Tensor, offsets: Tensor, logits: Tensor) -> Tensor:
    """With an operator that knows no cameras, in float32: each camera is a sample, with the queries that it sees.

    Args:
        attend: From value ``(B*N, K, heads, D)``, locations ``(B*N, M, heads, L, P, 2)`` as fractions of width and
            height and logits ``(B*N, M, heads, L * P)`` to ``(B*N, M, heads * D)``.

    Returns:
        ``(B, Q, heads * D)`` float32.
    """
    # A camera sees about a fifth of all queries: bring those to the front, cut off the rest.
    most = max(int(visible.sum(-1).max()), 1)
    index = visible.to(torch.uint8).argsort(dim=-1, descending=True, stable=True)[..., :most]  # (B, N, M)
    batch_size, num_cameras, num_chosen = index.shape
    samples = torch.arange(batch_size, device=index.device)[:, None, None]  # with index: (B, N, M) of (B, Q)

    fractions = offsets / levels.spatial_shapes.flip(-1)[:, None]  # of the level's width and height
    locations = projections.gather(2, index[..., None].expand(-1, -1, -1, 2))
    locations = locations[:, :, :, None, None, None] + fractions[samples, index]  # (B, N, M, heads, L, P, 2)
    attended = attend(value.flatten(0, 1).float(), locations.flatten(0, 1).float(),
                      logits[samples, index].flatten(0, 1)).unflatten(0, (batch_size, num_cameras))
    attended = attended * visible.gather(-1, index)[..., None]  # (B, N, M, C)
    place = index.flatten(1)[..., None].expand(-1, -1, attended.shape[-1])  # (B, N*M, C)
    total = attended.new_zeros(batch_size, visible.shape[-1], attended.shape[-1])
    return total.scatter_add(1, place, attended.flatten(1, 2))
