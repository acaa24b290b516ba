"""What deformable attention may be given. Shapes only: no value is read, so that a device is never waited for."""
from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

Shapes = Sequence[tuple[int, int]]


def check_deformable_inputs(value: Tensor, spatial_shapes: Shapes, locations: Tensor, logits: Tensor) -> None:
    """Check the arguments of ``deformable_attention``; see :func:`reference_deformable_attention`.

    Raises:
        ValueError: If the shapes do not fit each other.
    """
    if value.dim() != 4 or locations.dim() != 6 or locations.shape[-1] != 2:
        raise ValueError('Expected value (B, K, heads, D) and locations (B, Q, heads, L, P, 2), got '
                         f'{tuple(value.shape)} and {tuple(locations.shape)}.')
    _check_samples(value, '(B, K, heads, D)', spatial_shapes, locations, 'locations', logits)


def check_surround_inputs(value: Tensor, spatial_shapes: Shapes, projections: Tensor, visible: Tensor,
                          offsets: Tensor, logits: Tensor) -> None:
    """Check the arguments of ``surround_attention``; see :func:`reference_surround_attention`.

    Raises:
        ValueError: If the shapes do not fit each other.
    """
    if value.dim() != 5 or offsets.dim() != 6 or offsets.shape[-1] != 2:
        raise ValueError('Expected value (B, N, K, heads, D) and offsets (B, Q, heads, L, P, 2), got '
                         f'{tuple(value.shape)} and {tuple(offsets.shape)}.')
    _check_samples(value, '(B, N, K, heads, D)', spatial_shapes, offsets, 'offsets', logits)
    expected = (*value.shape[:2], offsets.shape[1])
    if projections.shape != (*expected, 2) or visible.shape != expected:
        raise ValueError(f'Expected projections (B, N, Q, 2) {(*expected, 2)} and visible (B, N, Q) {expected}, got '
                         f'{tuple(projections.shape)} and {tuple(visible.shape)}.')


def _check_samples(value: Tensor, layout: str, spatial_shapes: Shapes, samples: Tensor, name: str,
                   logits: Tensor) -> None:
    """What both have: cells, heads and width end the value's layout, and the samples are ``(B, Q, heads, L, P, 2)``."""
    _check_levels(value.shape[-3], spatial_shapes, samples)
    batch_size, num_queries, num_heads, num_levels, num_points, _ = samples.shape
    if value.shape[0] != batch_size or value.shape[-2] != num_heads:
        raise ValueError(f'value {layout} is {tuple(value.shape)}, but {name} (B, Q, heads, L, P, 2) is '
                         f'{tuple(samples.shape)}: batch and heads must agree.')
    _check_logits(logits, (batch_size, num_queries, num_heads, num_levels * num_points))


def _check_levels(num_keys: int, spatial_shapes: Shapes, samples: Tensor) -> None:
    if isinstance(spatial_shapes, Tensor):
        raise ValueError('Expected spatial_shapes as Python integers ((height, width), ...), got a tensor, which would '
                         'have to be fetched from its device at every call. Give spatial_shapes.tolist(), once.')
    if sum(height * width for height, width in spatial_shapes) != num_keys:
        raise ValueError(f'spatial_shapes {tuple(spatial_shapes)} have '
                         f'{sum(height * width for height, width in spatial_shapes)} cells, but value has {num_keys}.')
    if len(spatial_shapes) != samples.shape[3] or not samples.shape[3] or not samples.shape[4]:
        raise ValueError(f'{len(spatial_shapes)} spatial_shapes, but samples (B, Q, heads, L, P, 2) of shape '
                         f'{tuple(samples.shape)}: L must be their number, and L and P at least 1.')


def _check_logits(logits: Tensor, expected: tuple[int, ...]) -> None:
    if logits.shape != expected:
        raise ValueError(f'Expected logits (B, Q, heads, L * P) {expected}, got {tuple(logits.shape)}.')
